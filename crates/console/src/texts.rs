//! The message catalogue: every word that a person reads in the console, in one table. Another language is another
//! value of [`Texts`], which the compiler holds to have them all; `{…}` stands for what is filled in.

macro_rules! texts {
    ($($name:ident: $text:literal;)*) => {
        pub(crate) struct Texts { $(pub(crate) $name: &'static str,)* }

        static ENGLISH: Texts = Texts { $($name: $text,)* };
    };
}

/// The language of the pages.
pub(crate) static T: &Texts = &ENGLISH;

texts! {
    language: "en";
    product: "ML Platform";
    time_format: "%-d %b %Y, %H:%M UTC";
    skip: "Skip to the content";

    // The parts
    tokens: "Tokens";
    register_tokens: "Registration tokens";
    audit: "Audit";
    own_token: "My token";
    signed_in_as: "Signed in as";
    sign_out: "Sign out";

    // Words of several pages
    name: "Name";
    id: "Id";
    role: "Role";
    user: "User";
    administrator: "Administrator";
    user_may: "Works with clusters and jobs; sees and rotates its own token.";
    administrator_may: "Does what a User does; also makes, deletes and lists tokens and reads the audit.";
    created: "Created";
    expires: "Expires";
    last_used: "Last used";
    issued_by: "Issued by";
    never: "Never";
    not_yet: "Not yet";
    from_address: "from {address}";
    by: "by";
    expired: "Expired";
    ends_within_the_hour: "Ends within the hour";
    ends_in_one_hour: "Ends in 1 hour";
    ends_in_hours: "Ends in {count} hours";
    ends_in_one_day: "Ends in 1 day";
    ends_in_days: "Ends in {count} days";
    cancel: "Cancel";
    confirm: "Confirm";
    ready: "Ready";
    create: "Create";
    search: "Search";
    clear: "Clear";
    copy: "Copy";
    copied: "Copied";
    copy_failed: "Select the text and copy it yourself";
    pages: "Pages";
    newer: "Newer";
    older: "Older";
    actions: "Actions";
    actions_for: "Actions for {name}";
    rotate: "Rotate";
    delete: "Delete";
    you: "You";

    // Signing in
    sign_in: "Sign in";
    sign_in_lead: "Sign in with an access token. An Administrator manages tokens here; a User sees its own.";
    access_token: "Access token";
    sign_in_where: "On a new platform, the first Administrator’s token is in the file `admin-token` of its data directory. On the platform’s machine, `mlplatform-server open` prints a link that signs in.";
    sign_in_refused: "This token cannot be used. It may have been mistyped, have expired, or have been deleted.";
    sign_in_empty: "Paste your access token.";
    sign_in_damaged: "This does not look like a whole token: a character seems to be wrong or missing. Copy it once more.";
    sign_in_registration: "This is a registration token. Redeem it with create_refresh_token in Python, then sign in with the access token that you get.";
    sign_in_session: "This is a session token, which the library makes for itself. Sign in with the access token.";
    session_ended: "You are signed out, or your session has ended. Sign in to go on.";
    form_lost: "Your session had ended, so what you sent was not done. Sign in, then do it once more.";
    signed_out: "You are signed out.";
    code_title: "Sign in on this machine";
    code_lead: "This link was made on the platform’s machine. It signs you in as its Administrator token, and works once.";
    code_continue: "Sign in as Administrator";
    code_refused: "This link has been used or is too old. On the platform’s machine, mlplatform-server open prints another.";

    // Confirming with the token's value
    present_value: "Your access token, once more";
    present_value_hint: "So that nobody who finds your browser open can change who may use the platform. You are not asked again for {time}.";
    present_value_where: "You signed in with a link: the value is in the file `admin-token` of the platform’s data directory.";
    present_value_missing: "Give your access token once more. Nothing was changed yet.";
    present_value_wrong: "This is not the present value of the token that you are signed in with. Nothing was changed.";

    // The list of tokens
    tokens_lead: "Who may use this platform. Tokens made with the Python library are here too; the newest are first.";
    create_access_token: "Create access token";
    search_tokens: "Name or id";
    ending_soon_one: "1 token ends within {days} days.";
    ending_soon: "{count} tokens end within {days} days.";
    ending_soon_many: "More than {count} tokens end within {days} days.";
    show_them: "Show them";
    only_ending: "Only tokens that end within {days} days";
    show_all: "Show all";
    nothing_found: "No token has “{name}” in its name.";
    nothing_ends: "No token ends soon.";
    no_more_tokens: "There are no tokens here.";

    // Making a token
    create_lead: "The token’s value is shown once, on the next page. Whoever holds it may do what its role allows.";
    name_hint: "Anything that tells you whose it is: 1 to 64 characters.";
    lifetime: "Lifetime";
    unlimited: "Unlimited";
    unlimited_hint: "Until somebody deletes it.";
    chosen: "It ends after";
    number: "Number";
    unit: "Unit";
    minutes: "minutes";
    hours: "hours";
    days: "days";
    weeks: "weeks";
    created_title: "Access token created";
    created_lead: "This is the access token {name}.";
    shown_once: "Copy the value now and keep it safe. It is not stored: once you leave this page, nobody can show it again. If it is lost, create another token.";
    made_before_title: "This token was made already";
    made_before_lead: "The form was sent before, and it made one token. Its value was in that first answer and is not shown twice.";
    made_before_what: "If you do not have the value, delete the token and create another, or rotate it.";
    name_taken: "A token is named “{name}” already. Choose another name, or delete that token first.";
    choose_role: "Choose what the token may do.";
    not_created: "Nothing was created. Look at what is marked below.";

    // Registration tokens
    register_lead: "One-time tokens for colleagues: whoever redeems one gets an access token with the name, role and lifetime that it was made with.";
    create_registration_token: "Create registration token";
    create_registration_lead: "Give it to one colleague. Redeemed in Python, it becomes an access token; who redeems it changes nothing of what you choose here.";
    access_token_name: "Name of the access token";
    access_token_lifetime: "Lifetime of the access token";
    redeem_within: "To be redeemed within";
    redeem_within_hint: "After that it is of no use to anybody.";
    registration_token: "Registration token";
    registration_created_title: "Registration token created";
    registration_created_lead: "With this, one colleague gets the access token {name}.";
    for_the_colleague: "What the colleague runs, with the mlplatform_client package installed";
    registration_shown_once: "Hand it over now, where others do not read along. It is not stored: once you leave this page, nobody can show it again. If it is lost, withdraw it and create another.";
    registration_made_before_lead: "The form was sent before, and it made one registration token. Its value was in that first answer and is not shown twice.";
    registration_made_before_what: "If you do not have the value, withdraw it in the list and create another.";
    state: "State";
    waiting: "Waiting";
    redeemed: "Redeemed";
    withdrawn: "Withdrawn";
    redeem_until: "Redeem until";
    token_lifetime: "Token’s lifetime";
    replayed_once: "Tried again once";
    replayed: "Tried again {count} times";
    replayed_last: "last";
    replayed_notice_one: "After it was redeemed, 1 registration token was tried again in the last {days} days. Somebody else may have had it.";
    replayed_notice: "After they were redeemed, {count} registration tokens were tried again in the last {days} days. Somebody else may have had them.";
    show_one: "Show it";
    all: "All";
    only_waiting: "Waiting";
    only_replayed: "Tried again";
    filter: "Filter";
    no_registration_tokens: "There are no registration tokens here.";
    withdraw: "Withdraw";
    withdraw_title: "Withdraw the registration token for {name}?";
    withdraw_effect: "Nobody can redeem it any more. This cannot be undone.";
    withdrawn_done: "The registration token for {name} was withdrawn.";
    registration_gone: "There is no such registration token, or it was redeemed meanwhile.";
    minute_one: "1 minute";
    minutes_many: "{count} minutes";
    hour_one: "1 hour";
    hours_many: "{count} hours";
    day_one: "1 day";
    days_many: "{count} days";

    // Rotating
    rotate_title: "Rotate {name}?";
    rotate_lead: "The token gets a new value and stays what it is: the same name, role and end. Whatever uses it needs the new value.";
    rotate_own: "You are signed in with this token. When its old value ends, so does your session: sign in again with the new value.";
    old_value: "The old value";
    ends_at_once: "Ends at once";
    ends_at_once_hint: "When somebody else may have it.";
    ends_later: "Goes on for";
    rotated_title: "Access token rotated";
    rotated_lead: "This is the new value of {name}.";
    rotated_before_title: "This token was rotated already";
    rotated_before_lead: "The form was sent before. The new value was in that first answer and is not shown twice; if you do not have it, rotate the token again.";

    // Deleting
    delete_title: "Delete {name}?";
    delete_effect: "What uses this token stops working at its next request. This cannot be undone.";
    delete_issued: "Registration tokens that it issued and nobody has redeemed are withdrawn.";
    delete_own: "You are signed in with this token: deleting it signs you out. If no Administrator token is left, `mlplatform-server admin-token` on the platform’s machine makes one.";
    deleted: "{name} was deleted.";
    token_gone: "There is no such token: it may have expired or been deleted meanwhile.";
    token_gone_title: "No such token";

    // The audit
    audit_lead: "Who did what, when and from where. Rows are only ever added; `mlplatform-server audit verify` proves that none was changed.";
    audit_token: "Token (name or id)";
    audit_nothing: "Nothing that was done fits this.";
    audit_no_time: "A time is not complete: give day, hour and minute, or leave it empty.";
    action: "Action";
    outcome: "Outcome";
    since: "From (UTC)";
    until: "Before (UTC)";
    show: "Show";
    any: "Any";
    done: "Done";
    refused: "Refused";
    replay: "Tried again";
    when: "When";
    who: "Who";
    whom: "To which token";
    from_where: "From where";
    newest: "Newest";
    export: "Export";
    details: "Details";

    // My token
    own_lead: "The token that you are signed in with.";
    browsers: "Signed in with this token";
    this_browser: "This browser";
    another_browser: "Another browser";
    browser_since: "Since";
    sign_out_others: "Sign the others out";
    sign_out_others_title: "Sign all other browsers out?";
    sign_out_others_effect: "Whoever is signed in with this token elsewhere has to sign in again. To keep out somebody who has the token itself, rotate it.";
    others_signed_out: "All other browsers were signed out.";
    own_token_ends: "The token that you are signed in with ends soon.";

    // A job
    job_lead: "A Spark job on the cluster";
    job_deleted: "Deleted";
    job_why: "Why";
    job_remedy: "What to do:";
    job_submitted: "Submitted";
    job_started: "Started";
    job_ended: "Ended";
    job_runs: "Runs";
    job_gone_title: "No such job";
    job_gone: "There is no job of that name in this cluster, and there was none; or the cluster is gone.";
    refresh: "Refresh";
    refresh_always: "Refresh every {seconds} seconds";
    stop_refreshing: "Stop refreshing";
    pods: "Pods";
    pod: "Pod";
    pod_count: "Number";
    pod_cores: "Cores of each";
    pod_memory: "Memory of each";
    driver: "Driver";
    executors: "Executors";
    executors_are_threads: "Threads of the driver’s process";
    log: "Log";
    whole_log: "The whole log ({size})";
    log_end_only: "Its last {size}.";
    log_empty: "The job printed nothing.";
    log_empty_yet: "The job has printed nothing yet.";
    events: "Events";
    event: "Event";
    event_message: "What happened";
    gib: "{count} GiB";
    mib: "{count} MiB";
    kib: "{count} KiB";
    byte_one: "1 byte";
    bytes_many: "{count} bytes";

    // Errors
    back_to_start: "Back to the start";
    request_id: "Request";
    error_bad_request: "This request cannot be understood";
    error_forbidden: "This is not for you to do";
    error_forbidden_text: "Nothing was shown or done. If you need this, ask somebody with an Administrator token.";
    error_not_found: "There is nothing here";
    error_not_found_text: "The address is wrong, or what was here is gone.";
    error_form: "The form did not arrive";
    error_form_text: "Nothing was done. Go back and send it again.";
    error_conflict: "This does not fit what is there";
    error_too_many: "Too many attempts";
    error_too_many_text: "This address has sent too many tokens that do not work. Wait for a minute, then try again.";
    error_busy: "The platform is busy";
    error_busy_text: "Nothing was done. Try again in a moment.";
    error_failed: "The platform failed";
    error_failed_text: "It may not be your doing. Try again; if it stays, show whoever runs the platform the request below.";
}

/// Actions of the audit, as people call them.
pub(crate) static ACTIONS: &[(&str, &str)] = &[
    ("create_token", "Created an access token"),
    ("create_register_token", "Created a registration token"),
    ("create_refresh_token", "Redeemed a registration token"),
    ("delete_token", "Deleted an access token"),
    ("delete_issuer_tokens", "Deleted what an issuer made"),
    ("delete_register_token", "Withdrew a registration token"),
    ("withdraw_register_token", "A registration token ended"),
    ("rotate_token", "Rotated an access token"),
    ("sign_in", "Signed in to the console"),
    ("sign_out", "Signed out of the console"),
    ("confirm", "Gave the access token to confirm"),
    ("open", "Made a link to sign in"),
    ("open_page", "Asked for a page"),
    ("send_form", "Sent a form"),
    ("create_session", "Exchanged an access token"),
    ("first_start", "The platform was set up"),
    ("admin_token", "Replaced the Administrator token"),
    ("audit_gap", "Found that the audit was cut"),
];

/// How people call an action of the audit.
pub(crate) fn action(name: &str) -> Option<&'static str> {
    ACTIONS.iter().find(|(known, _)| *known == name).map(|(_, said)| *said)
}

/// A text with something filled in.
pub(crate) fn fill(text: &str, place: &str, value: &str) -> String {
    text.replace(place, value)
}

/// A text about one, or about so many.
pub(crate) fn plural(one: &str, many: &str, count: i64) -> String {
    if count == 1 { one.to_owned() } else { fill(many, "{count}", &count.to_string()) }
}
