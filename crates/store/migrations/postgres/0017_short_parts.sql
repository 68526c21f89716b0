-- The characters of a name and its pairs of neighbours, in lower case: what searches of one or two characters are for, which
-- the index of parts (three and more) does not know.
CREATE FUNCTION short_parts(name TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    -- Some microseconds: dear enough for the index to be used rather than every name looked at.
    COST 2000 AS $$
    SELECT c || ARRAY(SELECT a || b FROM unnest(c, c[2:]) AS pair (a, b) WHERE b IS NOT NULL)
    FROM string_to_array(lower(name COLLATE "default"), NULL) AS c
$$;

CREATE INDEX tokens_short_parts ON tokens USING gin (short_parts(name)) WITH (fastupdate = off);
CREATE INDEX register_tokens_short_parts ON register_tokens USING gin (short_parts(client_name)) WITH (fastupdate = off);
