-- When the value of the token was last presented in a session of the console: what changes something asks for it again a
-- few minutes later. 0: the token was rotated since. NULL: never, the session began with a sign-in link.
ALTER TABLE sessions ADD COLUMN confirmed_at INTEGER;
