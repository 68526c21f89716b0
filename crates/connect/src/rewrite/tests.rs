use proptest::{collection::vec, prelude::*};

use super::*;

const SESSION: &str = "00112233-4455-6677-8899-aabbccddeeff";

fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

fn text(field: u64, content: &[u8]) -> Vec<u8> {
    [number(field << 3 | 2), number(content.len() as u64), content.to_vec()].concat()
}

fn message(content: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn rewritten(pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut rewriter = Rewriter::new("tok_own").unwrap();
    let mut out = BytesMut::new();
    for piece in pieces {
        rewriter.push(piece, &mut out).map_err(|status| status.message)?;
    }
    rewriter.finish().map_err(|status| status.message)?;
    Ok(out.to_vec())
}

/// The fields of a message, as a parser reads them: number, type, content.
fn fields(mut message: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    fn read(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !message.is_empty() {
        let tag = read(&mut message);
        let content = match tag & 7 {
            0 => number(read(&mut message)),
            1 => message.split_off(..8).unwrap().to_vec(),
            5 => message.split_off(..4).unwrap().to_vec(),
            _ => {
                let length = usize::try_from(read(&mut message)).unwrap();
                message.split_off(..length).unwrap().to_vec()
            }
        };
        all.push((tag >> 3, tag & 7, content));
    }
    all
}

/// The messages of a stream, whose prefixes must be right.
fn messages(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((prefix, rest)) = stream.split_at_checked(5) {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        all.push(rest[..length].to_vec());
        stream = &rest[length..];
    }
    assert!(stream.is_empty());
    all
}

/// What a server makes of a message's user: the id, and whether there is anything else in it.
fn user(message: &[u8]) -> (String, bool) {
    let (mut id, mut more) = (String::new(), false);
    for (_, _, content) in fields(message).into_iter().filter(|(number, ..)| *number == 2) {
        for (number, _, content) in fields(&content) {
            match number {
                1 => id = String::from_utf8(content).unwrap(),
                15 => assert_eq!(content, [0]),
                _ => more = true,
            }
        }
    }
    (id, more)
}

fn claim() -> Vec<u8> {
    text(2, &[text(1, b"victim"), text(2, b"Victim"), text(999, b"extension")].concat())
}

#[test]
fn the_caller_is_who_the_token_says() {
    let session = text(1, SESSION.as_bytes());
    for content in [
        session.clone(),
        [session.clone(), claim()].concat(),
        [claim(), session.clone()].concat(),
        [claim(), session.clone(), claim(), text(3, b"plan"), claim()].concat(),
        [session.clone(), text(2, b"")].concat(),
        [session.clone(), number(4 << 3), number(u64::MAX), vec![5 << 3 | 5, 1, 2, 3, 4], vec![6 << 3 | 1; 9]].concat(),
    ] {
        let out = messages(&rewritten(&[&message(&content)]).unwrap());
        assert_eq!(user(&out[0]), ("tok_own".to_owned(), false));
        let others = |message: &[u8]| fields(message).into_iter().filter(|field| field.0 != 2).collect::<Vec<_>>();
        assert_eq!(others(&out[0]), others(&content));
    }
}

#[test]
fn what_a_parser_could_read_differently_is_refused() {
    let session = text(1, SESSION.as_bytes());
    let with = |more: &[u8]| message(&[&session[..], more].concat());
    let mut compressed = message(&session);
    compressed[0] = 1;
    let mut swallowing = session.clone();
    swallowing.extend([3 << 3 | 2, 14]);
    for (stream, expected) in [
        (compressed, "compressed"),
        (message(b""), "names no session"),
        (message(&text(3, b"plan")), "names no session"),
        (message(&text(1, b"short")), "no UUID"),
        (message(&text(1, &[b'x'; 36])), "no UUID"),
        (message(&text(1, &[0xff; 36])), "no UUID"),
        (with(&session), "two sessions"),
        (message(&swallowing), "longer than its message"),
        (with(&[3 << 3 | 2]), "does not end with its message"),
        (with(&[0x80]), "does not end with its message"),
        (with(&[4 << 3, 0x80]), "does not end with its message"),
        (with(&[3 << 3 | 1, 0]), "does not end with its message"),
        (with(&[3 << 3 | 3, 2 << 3 | 2, 0, 3 << 3 | 4]), "type that is not known"),
        (with(&[2 << 3, 1]), "another type"),
        (with(&[1 << 3 | 5, 0, 0, 0, 0]), "another type"),
        (with(&[2 << 3 | 2 | 0x80, 0, 0]), "shortest form"),
        (with(&[3 << 3 | 2, 0x80, 0]), "shortest form"),
        (with(&[0xfa, 0xff, 0xff, 0xff, 0xff, 0]), "shortest form"),
        (with(&[2, 0]), "number that there is not"),
        (with(&[&[4 << 3][..], &[0xff; 10]].concat()), "ten bytes"),
        (with(&text(2, b"x")), "no message"),
        (with(&text(2, &[0; 4097])), "at most 4096"),
        (vec![0, 0xff, 0xff, 0xff, 0xff], "at most 134216704 are taken"),
        (vec![0, 0, 0], "in the middle of a message"),
        (message(&session)[..20].to_vec(), "in the middle of a message"),
    ] {
        let error = rewritten(&[&stream]).unwrap_err();
        assert!(error.contains(expected), "{error}: {stream:?}");
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(rewritten(&bytes).unwrap_err(), error);
    }
    let other = text(1, SESSION.replace('0', "1").as_bytes());
    let error = rewritten(&[&message(&session), &message(&other)]).unwrap_err();
    assert!(error.contains("different sessions"), "{error}");
}

#[test]
fn nothing_is_kept_of_a_message_of_any_length() {
    let mut rewriter = Rewriter::new("tok_own").unwrap();
    let session = text(1, SESSION.as_bytes());
    let length = 100 * 1024 * 1024_u32;
    let head = [session, number(3 << 3 | 2), number(u64::from(length))].concat();
    let whole = u32::try_from(head.len()).unwrap() + length;
    let mut out = BytesMut::new();
    rewriter.push(&[&[0][..], &whole.to_be_bytes(), &head].concat(), &mut out).unwrap();
    let (piece, mut sent) = (vec![7; 16 * 1024], out.len());
    for _ in 0..length as usize / piece.len() {
        out.clear();
        rewriter.push(&piece, &mut out).unwrap();
        assert!(out.len() <= piece.len() + 16 && rewriter.session.len() == 36);
        sent += out.len();
    }
    rewriter.finish().unwrap();
    assert_eq!(sent, 5 + whole as usize + rewriter.user.len());
}

fn any_field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (3_u64..2000, vec(any::<u8>(), 0..300)).prop_map(|(number, content)| text(number, &content)),
        (3_u64..2000, any::<u64>()).prop_map(|(field, value)| [number(field << 3), number(value)].concat()),
        (3_u64..2000, any::<[u8; 4]>()).prop_map(|(field, value)| [number(field << 3 | 5), value.to_vec()].concat()),
        (3_u64..2000, any::<[u8; 8]>()).prop_map(|(field, value)| [number(field << 3 | 1), value.to_vec()].concat()),
        vec(any::<u8>(), 0..40).prop_filter("no message", |content| content.len() != 1).prop_map(|c| text(2, &c)),
        Just(claim()),
    ]
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    (vec(any_field(), 0..8), any::<prop::sample::Index>()).prop_map(|(mut fields, at)| {
        fields.insert(at.index(fields.len() + 1), text(1, SESSION.as_bytes()));
        fields.concat()
    })
}

fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let (mut rest, mut all) = (bytes, Vec::new());
    for size in sizes.iter().cycle().take(bytes.len()) {
        let (piece, more) = rest.split_at((*size).min(rest.len()));
        all.push(piece.to_vec());
        rest = more;
    }
    all.push(rest.to_vec());
    all
}

proptest! {
    #[test]
    fn however_they_are_cut_messages_come_out_with_the_caller_alone(
        given in vec(any_message(), 1..4), sizes in vec(1_usize..40, 1..10),
    ) {
        let stream: Vec<u8> = given.iter().flat_map(|content| message(content)).collect();
        let pieces = cut(&stream, &sizes);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let out = rewritten(&pieces).unwrap();
        prop_assert_eq!(&out, &rewritten(&[&stream]).unwrap());
        let out = messages(&out);
        prop_assert_eq!(out.len(), given.len());
        for (sent, given) in out.iter().zip(&given) {
            prop_assert_eq!(user(sent), ("tok_own".to_owned(), false));
            let others = |message: &[u8]| fields(message).into_iter().filter(|field| field.0 != 2).collect::<Vec<_>>();
            prop_assert_eq!(others(sent), others(given));
        }
    }

    #[test]
    fn no_bytes_are_too_odd(stream in vec(any::<u8>(), 0..200), sizes in vec(1_usize..40, 1..10)) {
        let pieces = cut(&stream, &sizes);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let whole = rewritten(&[&stream]);
        prop_assert_eq!(rewritten(&pieces), whole.clone());
        if let Ok(out) = whole {
            for sent in messages(&out) {
                prop_assert_eq!(user(&sent), ("tok_own".to_owned(), false));
            }
        }
    }
}
