-- Sign-in in two calls, and who a token belongs to.

-- The user that a token belongs to now; no row when it is unknown, expired, or the user is disabled.
CREATE FUNCTION caller_v1(p_token bytea) RETURNS SETOF users LANGUAGE sql STABLE AS $$
    SELECT u.* FROM logins l JOIN users u ON u.id = l.user_id
    WHERE l.token_hash = p_token AND l.expires_at > now() AND u.disabled_at IS NULL
$$;

-- Counts one attempt against a key before the password is looked at, so that parallel guesses are counted too.
-- Returns the seconds to wait; 0: go on. A blocked attempt is not counted.
CREATE FUNCTION throttle_v1(p_key text, p_free integer, p_ceiling_s integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v throttles;
BEGIN
    INSERT INTO throttles (key, attempts) VALUES (p_key, 0) ON CONFLICT (key) DO NOTHING;
    SELECT * INTO v FROM throttles WHERE key = p_key FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 1; -- A cleaner removed it in this very moment.
    END IF;
    IF v.blocked_until > now() THEN
        RETURN ceil(extract(epoch FROM v.blocked_until - now()));
    END IF;
    IF v.counted_since < now() - interval '15 minutes' AND v.blocked_until IS NULL THEN
        v.attempts := 0;
        v.counted_since := now();
    END IF;
    v.attempts := v.attempts + 1;
    UPDATE throttles SET attempts = v.attempts, counted_since = v.counted_since,
        blocked_until = CASE WHEN v.attempts >= p_free
            THEN now() + make_interval(secs => least(power(2, least(v.attempts - p_free + 1, 20)), p_ceiling_s)) END
    WHERE key = p_key;
    RETURN 0;
END
$$;

-- The throttle's key of an address. Whoever has one IPv6 address has its /64.
CREATE FUNCTION address_key_v1(p_address text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'address:' || CASE WHEN p_address LIKE '%:%'
        THEN text(network(set_masklen(p_address::inet, 64))) ELSE p_address END
$$;

-- The throttle's key of an account at an address.
CREATE FUNCTION pair_key_v1(p_name text, p_address text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'pair:' || lower(p_name) || ' ' || address_key_v1(p_address)
$$;

-- Counts one attempt against an account from wherever it comes, and gives the seconds by which the answer is delayed: none up to a hundred
-- in a quarter of an hour, then more and more. It never refuses: whoever guesses from everywhere must not lock the account's owner out.
CREATE FUNCTION delay_v1(p_account text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_attempts integer;
BEGIN
    INSERT INTO throttles AS t (key, attempts) VALUES ('account:' || lower(p_account), 1)
        ON CONFLICT (key) DO UPDATE SET
            attempts = CASE WHEN t.counted_since < now() - interval '15 minutes' THEN 1 ELSE t.attempts + 1 END,
            counted_since = CASE WHEN t.counted_since < now() - interval '15 minutes' THEN now() ELSE t.counted_since END
        RETURNING attempts INTO v_attempts;
    RETURN CASE WHEN v_attempts <= 100 THEN 0 ELSE least(1 + (v_attempts - 100) / 100, 5) END;
END
$$;

-- First round trip: the stored hash, if the throttles let the attempt pass.
CREATE FUNCTION login_begin_v1(p_name text, p_address text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_wait integer;
    v_delay integer;
    v_user users;
BEGIN
    -- Always address, pair, account: one lock order. A refused attempt counts against nothing that comes after.
    v_wait := throttle_v1(address_key_v1(p_address), 60, 300);
    IF v_wait = 0 THEN
        v_wait := throttle_v1(pair_key_v1(p_name, p_address), 6, 60);
    END IF;
    IF v_wait > 0 THEN
        RETURN jsonb_build_object('outcome', 'throttled', 'wait_s', v_wait);
    END IF;
    v_delay := delay_v1(p_name);
    SELECT * INTO v_user FROM users WHERE lower(name) = lower(p_name) AND disabled_at IS NULL;
    RETURN jsonb_build_object('outcome', 'ok', 'delay_s', v_delay, 'user_id', v_user.id,
        'password_hash', v_user.password_hash);
END
$$;

-- Second round trip: the outcome is written down; a good one opens a login, clears the throttle of the account at this address, and takes
-- its own attempt back from the others: somebody else's guesses stay counted.
CREATE FUNCTION login_finish_v1(
    p_user uuid, p_ok boolean, p_name text, p_token bytea, p_lifetime_s integer, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
BEGIN
    SELECT * INTO v_user FROM users WHERE id = p_user AND disabled_at IS NULL;
    IF NOT p_ok OR NOT FOUND THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (p_user, 'sign_in', left(p_name, 128), 'refused', p_address, p_request);
        RETURN jsonb_build_object('outcome', 'refused');
    END IF;
    UPDATE throttles SET attempts = greatest(attempts - 1, 0), blocked_until = NULL
        WHERE key = address_key_v1(p_address);
    DELETE FROM throttles WHERE key = pair_key_v1(p_name, p_address);
    UPDATE throttles SET attempts = greatest(attempts - 1, 0) WHERE key = 'account:' || lower(p_name);
    INSERT INTO logins (token_hash, user_id, expires_at)
        VALUES (p_token, v_user.id, now() + make_interval(secs => p_lifetime_s));
    INSERT INTO audit (user_id, action, target, outcome, address, request_id)
        VALUES (v_user.id, 'sign_in', v_user.name, 'ok', p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'user',
        jsonb_build_object('id', v_user.id, 'name', v_user.name, 'role', v_user.role));
END
$$;

CREATE FUNCTION logout_v1(p_token bytea, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user uuid;
BEGIN
    DELETE FROM logins WHERE token_hash = p_token RETURNING user_id INTO v_user;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    INSERT INTO audit (user_id, action, outcome, address, request_id)
        VALUES (v_user, 'sign_out', 'ok', p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

CREATE FUNCTION whoami_v1(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT jsonb_build_object('outcome', 'ok', 'user',
            jsonb_build_object('id', c.id, 'name', c.name, 'role', c.role)) FROM caller_v1(p_token) c),
        jsonb_build_object('outcome', 'unauthenticated'))
$$;
