//! A stream of gRPC messages, the caller's identity put into each: in constant memory, however long they are and however
//! they are cut.
//!
//! A message is walked field by field, and its content is not looked at. The user that the client claims to be (field 2,
//! any number of times) is overwritten in its place by a message of the same length without content, and the real one is
//! added at the end, so that the length is known before the message is. Where a field occurs several times, protobuf
//! merges them, and the last value counts.
//!
//! The walk is strict where a parser might read something else than we do: groups, other types of the two fields, tags
//! and lengths with needless bytes, and fields that do not end with their message are refused.

use bytes::{BufMut, Bytes, BytesMut};

use crate::status::{Code, Status};

/// The largest message: what Spark's server takes by default, which must hold what is added.
pub(crate) const LARGEST_MESSAGE: u32 = 128 * 1024 * 1024 - 1024;
/// What a client says of its user: a name.
const LARGEST_USER: u32 = 4096;
/// Of a UUID.
const SESSION_ID: u32 = 36;
/// Bytes of a varint.
const LONGEST_VARINT: u32 = 10;
/// The tag of field 2 with a length.
const USER_TAG: u8 = 2 << 3 | 2;
/// In the user's message: field 15, which it does not have, with the number 0 …
const NOTHING: [u8; 2] = [15 << 3, 0];
/// … and the same in three bytes.
const NOTHING_ODD: [u8; 3] = [15 << 3, 0x80, 0];

/// What a field is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Session,
    User,
    Other,
}

/// Where in a stream the next byte is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// In the five bytes before a message.
    Prefix { bytes: [u8; 5], have: usize },
    /// In a field's tag.
    Tag { value: u64, have: u32 },
    /// In a field's length.
    Length { field: Field, value: u64, have: u32 },
    /// In a number.
    Number { have: u32 },
    /// In a field's content.
    Content { field: Field, length: u32, done: u32 },
}

const PREFIX: State = State::Prefix { bytes: [0; 5], have: 0 };
const TAG: State = State::Tag { value: 0, have: 0 };

/// The messages of one call.
#[derive(Debug)]
pub(crate) struct Rewriter {
    /// Field 2 of every message.
    user: Vec<u8>,
    state: State,
    /// Of the message.
    left: u32,
    /// Of the message that is read, as far as it is.
    session: Vec<u8>,
    /// Of the call: the first message's, which the others must have, too.
    session_id: Option<String>,
}

impl Rewriter {
    /// `user`: what the server shall know the caller by.
    pub(crate) fn new(user: &str) -> Result<Self, Status> {
        // One byte says how long it is.
        let id = u8::try_from(user.len()).ok().filter(|length| *length <= 100);
        let id = id.ok_or_else(|| Status::new(Code::Internal, "a token's id is longer than 100 bytes"))?;
        let mut field = vec![USER_TAG, id.saturating_add(2), 1 << 3 | 2, id];
        field.extend(user.as_bytes());
        Ok(Self { user: field, state: PREFIX, left: 0, session: Vec::new(), session_id: None })
    }

    /// The session of the call, once it is known: nothing may be sent before.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// Takes the next bytes, and adds to `out` what is sent for them.
    pub(crate) fn push(&mut self, mut input: &[u8], out: &mut BytesMut) -> Result<(), Status> {
        out.reserve(input.len());
        while let Some((&byte, rest)) = input.split_first() {
            if let State::Content { field, length, done } = self.state {
                let here = usize::try_from(length - done).unwrap_or(usize::MAX).min(input.len());
                let (content, rest) = input.split_at(here);
                self.content(field, length, done, content, out)?;
                input = rest;
                continue;
            }
            input = rest;
            self.byte(byte, out)?;
        }
        Ok(())
    }

    /// At the end of the stream.
    pub(crate) fn finish(&self) -> Result<(), Status> {
        match self.state {
            State::Prefix { have: 0, .. } => Ok(()),
            _ => Err(broken("it ends in the middle of a message")),
        }
    }

    fn byte(&mut self, byte: u8, out: &mut BytesMut) -> Result<(), Status> {
        match self.state {
            State::Prefix { mut bytes, have } => {
                if let Some(place) = bytes.get_mut(have) {
                    *place = byte;
                }
                if have + 1 < bytes.len() {
                    self.state = State::Prefix { bytes, have: have + 1 };
                    return Ok(());
                }
                return self.begin(bytes, out);
            }
            State::Tag { value, have } => {
                let value = varint(value, have, byte)?;
                self.state = match value {
                    Err(value) => State::Tag { value, have: have + 1 },
                    Ok(tag) => field(tag)?,
                };
            }
            State::Length { field, value, have } => {
                self.state = match varint(value, have, byte)? {
                    Err(value) => State::Length { field, value, have: have + 1 },
                    // Of this byte, `left` does not know yet.
                    Ok(length) => self.length(field, length, self.left.saturating_sub(1))?,
                };
            }
            State::Number { have } => {
                self.state = match byte {
                    0..0x80 => TAG,
                    _ if have + 1 < LONGEST_VARINT => State::Number { have: have + 1 },
                    _ => return Err(broken("a number has more than ten bytes")),
                };
            }
            State::Content { .. } => {}
        }
        out.put_u8(byte);
        self.took(1, out)
    }

    /// A message begins.
    fn begin(&mut self, prefix: [u8; 5], out: &mut BytesMut) -> Result<(), Status> {
        let [compressed, a, b, c, d] = prefix;
        if compressed != 0 {
            let text = "compressed messages are not supported: turn compression off in the client";
            return Err(Status::new(Code::Unimplemented, text));
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > LARGEST_MESSAGE {
            let text =
                format!("a message has {length} bytes, and at most {LARGEST_MESSAGE} are taken: send less at once");
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        let added = u32::try_from(self.user.len()).unwrap_or(u32::MAX);
        out.put_u8(0);
        out.put_u32(length.saturating_add(added));
        (self.state, self.left) = (TAG, length);
        self.session.clear();
        self.took(0, out)
    }

    /// So many bytes of the message were taken; at its end the user is added.
    fn took(&mut self, bytes: u32, out: &mut BytesMut) -> Result<(), Status> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| broken("a field is longer than its message"))?;
        if self.left > 0 {
            return Ok(());
        }
        if !matches!(self.state, State::Tag { have: 0, .. }) {
            return Err(broken("a field does not end with its message"));
        }
        if self.session.is_empty() {
            return Err(broken("a message names no session (field 1)"));
        }
        out.put_slice(&self.user);
        self.state = PREFIX;
        Ok(())
    }

    fn length(&self, field: Field, length: u64, left: u32) -> Result<State, Status> {
        let length = u32::try_from(length).ok().filter(|length| *length <= left);
        let length = length.ok_or_else(|| broken("a field is longer than its message"))?;
        match field {
            Field::Session if !self.session.is_empty() => return Err(broken("a message names two sessions (field 1)")),
            Field::Session if length != SESSION_ID => return Err(no_uuid()),
            // Too short to be a message.
            Field::User if length == 1 => return Err(broken("the user (field 2) is no message")),
            Field::User if length > LARGEST_USER => {
                let text = format!("the user (field 2) has {length} bytes, and at most {LARGEST_USER} are taken");
                return Err(Status::new(Code::InvalidArgument, text));
            }
            Field::Session | Field::User | Field::Other => {}
        }
        Ok(if length == 0 { TAG } else { State::Content { field, length, done: 0 } })
    }

    fn content(
        &mut self,
        field: Field,
        length: u32,
        done: u32,
        content: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Status> {
        match field {
            Field::Other => out.put_slice(content),
            Field::Session => {
                self.session.extend(content);
                out.put_slice(content);
            }
            Field::User => out.extend((done..length).take(content.len()).map(|at| nothing(length, at))),
        }
        let bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let done = done.saturating_add(bytes);
        self.state = if done >= length { TAG } else { State::Content { field, length, done } };
        if field == Field::Session && done >= length {
            self.note_session()?;
        }
        self.took(bytes, out)
    }

    fn note_session(&mut self) -> Result<(), Status> {
        let id = std::str::from_utf8(&self.session).ok().filter(|id| is_uuid(id)).ok_or_else(no_uuid)?;
        match &self.session_id {
            Some(first) if first != id => Err(broken("its messages name different sessions (field 1)")),
            Some(_) => Ok(()),
            None => {
                self.session_id = Some(id.to_owned());
                Ok(())
            }
        }
    }
}

/// The message that ends a session: its fields are those that every message has.
pub(crate) fn release_message(user: &str, session_id: &str) -> Result<Bytes, Status> {
    let id = Some(session_id).filter(|id| id.len() == SESSION_ID as usize && is_uuid(id)).ok_or_else(no_uuid)?;
    let length = u8::try_from(2 + id.len()).unwrap_or_default();
    let head = [0, 0, 0, 0, length, 1 << 3 | 2, length.saturating_sub(2)];
    let mut out = BytesMut::new();
    let mut rewriter = Rewriter::new(user)?;
    rewriter.push(&head, &mut out)?;
    rewriter.push(id.as_bytes(), &mut out)?;
    Ok(out.freeze())
}

/// A byte of a user's message of that length that says nothing.
fn nothing(length: u32, at: u32) -> u8 {
    let odd = length % 2;
    let byte = if odd == 1 && at < 3 { NOTHING_ODD.get(at as usize) } else { NOTHING.get(((at + odd) % 2) as usize) };
    byte.copied().unwrap_or_default()
}

/// What follows a tag.
fn field(tag: u64) -> Result<State, Status> {
    let (number, kind) = (tag >> 3, tag & 7);
    let field = match number {
        0 | 0x2000_0000.. => return Err(broken("a field has a number that there is not")),
        1 => Field::Session,
        2 => Field::User,
        _ => Field::Other,
    };
    match (field, kind) {
        (_, 2) => Ok(State::Length { field, value: 0, have: 0 }),
        (Field::Session | Field::User, _) => Err(broken("field 1 or 2 has another type than in Spark's protocol")),
        (Field::Other, 0) => Ok(State::Number { have: 0 }),
        (Field::Other, 1) => Ok(State::Content { field, length: 8, done: 0 }),
        (Field::Other, 5) => Ok(State::Content { field, length: 4, done: 0 }),
        (Field::Other, _) => Err(broken("a field has a type that is not known")),
    }
}

/// One more byte of a tag or length, of which only the shortest form is taken: `Ok` with the number where it is the last.
fn varint(value: u64, have: u32, byte: u8) -> Result<Result<u64, u64>, Status> {
    // Both fit 32 bits.
    if have == 5 || (have == 4 && byte > 0x0f) || (have > 0 && byte == 0) {
        return Err(broken("a tag or length is not in its shortest form, or too large"));
    }
    let value = value | u64::from(byte & 0x7f) << (7 * have);
    Ok(if byte < 0x80 { Ok(value) } else { Err(value) })
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn broken(problem: &str) -> Status {
    Status::new(Code::InvalidArgument, format!("this is no request of Spark Connect: {problem}"))
}

fn no_uuid() -> Status {
    broken("the session's id (field 1) is no UUID such as 00112233-4455-6677-8899-aabbccddeeff")
}

#[cfg(test)]
mod tests;
