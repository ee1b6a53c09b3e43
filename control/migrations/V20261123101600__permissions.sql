-- Who may do what: permissions, API keys, and the hot calls that ask for them.

-- Every permission there is. The same as Permission::ALL of shared/model, which a test compares.
CREATE FUNCTION all_permissions_v1() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT '{users:view,users:modify,users:create,users:delete,
        groups:view,groups:modify,groups:create,groups:delete,
        zones:view,zones:modify,zones:create,zones:delete,
        nodes:view,nodes:modify,nodes:create,nodes:delete,
        workspaces:view,workspaces:modify,workspaces:create,workspaces:delete,
        sessions:view,sessions:modify,sessions:delete,
        images:view,images:modify,images:create,images:delete,
        audit:view,settings:view,settings:modify}'::text[]
$$;

-- What belonging to a group lets somebody do.
CREATE FUNCTION group_permissions_v1(g groups) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN g.system = 'administrators' THEN all_permissions_v1() ELSE g.permissions END
$$;

-- What all of a user's groups together let them do.
CREATE FUNCTION permissions_v1(p_user uuid) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT p ORDER BY p), '{}')
    FROM groups g CROSS JOIN LATERAL unnest(group_permissions_v1(g)) p
    WHERE g.system = 'everyone' OR g.id IN (SELECT m.group_id FROM group_members m WHERE m.user_id = p_user)
$$;

-- A key stands for its user, with less: the permissions it names, as long as the user has them. Only the hash of its token is stored.
CREATE TABLE api_keys (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name          text NOT NULL CHECK (name <> '' AND length(name) <= 128),
    token_hash    bytea NOT NULL UNIQUE,
    -- The token's first letters, by which people tell keys apart.
    hint          text NOT NULL,
    -- Besides what groups grant: 'sessions:own', to use the user's own sessions.
    permissions   text[] NOT NULL,
    -- Null: everywhere. Else the key administers these zones, and nothing that belongs to no zone.
    zones         uuid[] CHECK (zones <> '{}'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    last_address  text NOT NULL DEFAULT '',
    revoked_at    timestamptz,
    CHECK (zones IS NULL OR NOT permissions && '{sessions:own}')
);
CREATE INDEX api_keys_user ON api_keys (user_id, id);

-- The user that a token belongs to now; no row when it is unknown, expired, or the user may not act: disabled, locked, or in need of a new
-- password. A key whose permissions let it use its user's own sessions is that user here, and never an administrator: what it
-- administers, caller_v2 says.
CREATE OR REPLACE FUNCTION caller_v1(p_token bytea) RETURNS SETOF users LANGUAGE sql STABLE AS $$
    SELECT u.* FROM logins l JOIN users u ON u.id = l.user_id
    WHERE l.token_hash = p_token AND l.expires_at > now()
      AND u.disabled_at IS NULL AND u.locked_at IS NULL AND NOT u.must_change_password
    UNION ALL
    SELECT r.* FROM api_keys k JOIN users u ON u.id = k.user_id
        CROSS JOIN LATERAL jsonb_populate_record(u, '{"role": "user"}') r
    WHERE k.token_hash = p_token AND k.expires_at > now() AND k.revoked_at IS NULL AND 'sessions:own' = ANY (k.permissions)
      AND u.disabled_at IS NULL AND u.locked_at IS NULL AND NOT u.must_change_password
$$;

-- Whoever a token belongs to, and what they may do: `own`, whether they may use their own sessions; `permissions`; and for a key that is
-- bound to zones, which.
CREATE FUNCTION caller_v2(p_token bytea)
RETURNS TABLE (id uuid, name text, role text, own boolean, permissions text[], zones uuid[], key_id uuid)
LANGUAGE sql STABLE AS $$
    SELECT u.id, u.name, u.role, true, permissions_v1(u.id), NULL::uuid[], NULL::uuid
    FROM logins l JOIN users u ON u.id = l.user_id
    WHERE l.token_hash = p_token AND l.expires_at > now()
      AND u.disabled_at IS NULL AND u.locked_at IS NULL AND NOT u.must_change_password
    UNION ALL
    SELECT u.id, u.name, u.role, 'sessions:own' = ANY (k.permissions),
        ARRAY(SELECT p FROM unnest(permissions_v1(u.id)) p WHERE p = ANY (k.permissions)), k.zones, k.id
    FROM api_keys k JOIN users u ON u.id = k.user_id
    WHERE k.token_hash = p_token AND k.expires_at > now() AND k.revoked_at IS NULL
      AND u.disabled_at IS NULL AND u.locked_at IS NULL AND NOT u.must_change_password
$$;

-- Who asks, and what they may do; also for somebody who must choose a new password first, which the answer then says.
CREATE FUNCTION whoami_v2(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT jsonb_build_object('outcome', 'ok', 'own', c.own, 'zones', c.zones, 'key_id', c.key_id,
            'user', jsonb_build_object('id', c.id, 'name', c.name, 'role', c.role, 'permissions', c.permissions,
                'must_change_password', false))
         FROM caller_v2(p_token) c),
        (SELECT jsonb_build_object('outcome', 'ok', 'own', false, 'zones', NULL, 'key_id', NULL,
            'user', jsonb_build_object('id', u.id, 'name', u.name, 'role', u.role, 'permissions', '[]'::jsonb,
                'must_change_password', true))
         FROM logins l JOIN users u ON u.id = l.user_id
         WHERE l.token_hash = p_token AND l.expires_at > now() AND u.disabled_at IS NULL AND u.locked_at IS NULL
           AND u.must_change_password),
        jsonb_build_object('outcome', 'unauthenticated'))
$$;

-- Sign-in's second round trip. A locked account's right password opens nothing, and whoever knows it is told why; its attempt counts like
-- a wrong one's. The release before refuses it like a wrong password.
CREATE FUNCTION login_finish_v2(
    p_user uuid, p_ok boolean, p_name text, p_token bytea, p_lifetime_s integer, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
    v_answer jsonb;
BEGIN
    SELECT * INTO v_user FROM users WHERE id = p_user AND disabled_at IS NULL;
    IF p_ok AND v_user.locked_at IS NOT NULL THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (p_user, 'sign_in', v_user.name, 'locked', p_address, p_request);
        RETURN jsonb_build_object('outcome', 'locked');
    END IF;
    v_answer := login_finish_v1(p_user, p_ok, p_name, p_token, p_lifetime_s, p_address, p_request);
    IF v_answer->>'outcome' = 'ok' THEN
        v_answer := jsonb_set(v_answer, '{user}', v_answer->'user' || jsonb_build_object(
            'permissions', CASE WHEN v_user.must_change_password THEN '{}' ELSE permissions_v1(v_user.id) END,
            'must_change_password', v_user.must_change_password));
    END IF;
    RETURN v_answer;
END
$$;

CREATE OR REPLACE FUNCTION login_finish_v1(
    p_user uuid, p_ok boolean, p_name text, p_token bytea, p_lifetime_s integer, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
BEGIN
    SELECT * INTO v_user FROM users WHERE id = p_user AND disabled_at IS NULL AND locked_at IS NULL;
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

-- A new password of one's own, first half: the stored hash for whoever signed in (a key has no password to change), if the throttle of
-- guesses lets the attempt pass.
CREATE FUNCTION password_begin_v1(p_token bytea, p_address text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
    v_wait integer;
BEGIN
    SELECT u.* INTO v_user FROM logins l JOIN users u ON u.id = l.user_id
        WHERE l.token_hash = p_token AND l.expires_at > now() AND u.disabled_at IS NULL AND u.locked_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    v_wait := throttle_v1(pair_key_v1(v_user.name, p_address), 6, 60);
    IF v_wait > 0 THEN
        RETURN jsonb_build_object('outcome', 'throttled', 'wait_s', v_wait);
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'password_hash', v_user.password_hash);
END
$$;

-- Second half: the new hash is stored, and every login but this one ends. Null: the old password was wrong.
CREATE FUNCTION password_finish_v1(p_token bytea, p_old_hash text, p_hash text, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
BEGIN
    SELECT u.* INTO v_user FROM logins l JOIN users u ON u.id = l.user_id
        WHERE l.token_hash = p_token AND l.expires_at > now() AND u.disabled_at IS NULL AND u.locked_at IS NULL
        FOR NO KEY UPDATE OF u;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF p_hash IS NULL OR v_user.password_hash <> p_old_hash THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (v_user.id, 'change_password', v_user.name, 'refused', p_address, p_request);
        RETURN jsonb_build_object('outcome', 'refused');
    END IF;
    UPDATE users SET password_hash = p_hash, must_change_password = false WHERE id = v_user.id;
    DELETE FROM logins WHERE user_id = v_user.id AND token_hash <> p_token;
    DELETE FROM throttles WHERE key = pair_key_v1(v_user.name, p_address);
    INSERT INTO audit (user_id, action, target, outcome, address, request_id)
        VALUES (v_user.id, 'change_password', v_user.name, 'ok', p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- One session, for its user or whoever may view sessions. Somebody else's looks exactly like none.
CREATE FUNCTION get_session_v2(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN s.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        ELSE jsonb_build_object('outcome', 'ok', 'caller', c.id, 'session', session_view_v1(s), 'explanation', s.explanation) END
    FROM (SELECT 1) one
    LEFT JOIN caller_v2(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND (s.user_id = c.id AND c.own
        OR 'sessions:view' = ANY (c.permissions) AND (c.zones IS NULL OR s.zone_id = ANY (c.zones)))
$$;

-- One's own sessions, or with p_all everybody's, as far as a key's zones go.
CREATE FUNCTION list_sessions_v2(p_token bytea, p_all boolean, p_ended boolean, p_after uuid, p_limit integer)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_caller record;
    v_items jsonb;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF NOT (CASE WHEN p_all THEN 'sessions:view' = ANY (v_caller.permissions) ELSE v_caller.own END) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    SELECT coalesce(jsonb_agg(session_view_v1(s) ORDER BY s.id DESC), '[]') INTO v_items FROM (
        SELECT * FROM sessions x
        WHERE (p_all OR x.user_id = v_caller.id)
          AND (v_caller.zones IS NULL OR x.zone_id = ANY (v_caller.zones))
          AND (p_ended OR x.state NOT IN ('ended', 'failed', 'lost'))
          AND (p_after IS NULL OR x.id < p_after)
        ORDER BY x.id DESC LIMIT p_limit) s;
    RETURN jsonb_build_object('outcome', 'ok', 'items', v_items);
END
$$;

-- What a ticket for the caller's own session must say, and the policy that goes with it. Administrators have no way into somebody's desktop.
CREATE FUNCTION connect_v2(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN s.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        WHEN s.state NOT IN ('starting', 'running', 'unreachable') THEN
            jsonb_build_object('outcome', 'not_live', 'state', s.state, 'reason', s.reason)
        ELSE jsonb_build_object('outcome', 'ok', 'user_id', c.id, 'zone_id', z.id, 'agent_id', s.node_id,
            'epoch', s.epoch, 'generation', s.generation, 'settings', z.settings, 'policy', policy_v1(c)) END
    FROM (SELECT 1) one
    LEFT JOIN caller_v1(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND s.user_id = c.id
    LEFT JOIN zones z ON z.id = s.zone_id
$$;

-- The proxy's one question, answered with the policy of the moment: what a grant says is what holds when the stream opens.
CREATE FUNCTION authorize_v2(
    p_proxy uuid, p_zone uuid, p_ticket uuid, p_nonce text, p_session uuid, p_user uuid, p_agent uuid,
    p_epoch bigint, p_generation bigint, p_grant uuid, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answer jsonb;
BEGIN
    v_answer := authorize_v1(p_proxy, p_zone, p_ticket, p_nonce, p_session, p_user, p_agent, p_epoch, p_generation,
        p_grant, p_address, p_request);
    IF v_answer->>'outcome' = 'ok' THEN
        SELECT v_answer || jsonb_build_object('policy', policy_v1(u)) INTO v_answer FROM users u WHERE u.id = p_user;
    END IF;
    RETURN v_answer;
END
$$;

-- Tells a session to end, whoever decided it: the tombstone, which its agent carries out. Whether it was told so now.
CREATE FUNCTION order_end_v1(p_session uuid, p_reason text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_session sessions;
    v_desired bigint;
BEGIN
    SELECT * INTO v_session FROM sessions WHERE id = p_session AND state NOT IN ('ending', 'ended', 'failed', 'lost');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE nodes SET desired_version = desired_version + 1 WHERE id = v_session.node_id
        RETURNING desired_version INTO v_desired;
    UPDATE sessions SET state = 'ending', desired = 'end', generation = generation + 1, desired_version = v_desired,
        cut_before = now(), reason = p_reason
        WHERE id = p_session AND state NOT IN ('ending', 'ended', 'failed', 'lost');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM announce_v1(v_session.node_id, p_session);
    RETURN true;
END
$$;

-- Sets the tombstone, for the session's user or whoever may delete sessions. Asked again, it says how far the ending is.
CREATE FUNCTION end_session_v2(p_token bytea, p_session uuid, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_session sessions;
    v_mine boolean;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session;
    v_mine := v_session.user_id = v_caller.id AND v_caller.own;
    IF NOT FOUND OR NOT v_mine AND (NOT v_caller.permissions && '{sessions:view,sessions:delete}'
        OR v_session.zone_id <> ALL (v_caller.zones)) THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF NOT v_mine AND NOT 'sessions:delete' = ANY (v_caller.permissions) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    IF order_end_v1(p_session,
        CASE WHEN v_session.user_id = v_caller.id THEN 'ended by its user' ELSE 'ended by an administrator' END) THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (v_caller.id, 'end_session', p_session::text, 'ok', p_address, p_request);
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session;
    RETURN jsonb_build_object('outcome', 'ok', 'push', push_view_v1(v_session), 'session', session_view_v1(v_session));
END
$$;

-- The zones, and what whoever holds the token may see of them; `caller` is null when the token is nobody's.
CREATE FUNCTION list_zones_v2(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'caller', (SELECT jsonb_build_object('own', c.own, 'view', 'zones:view' = ANY (c.permissions), 'zones', c.zones)
            FROM caller_v2(p_token) c),
        'items', (SELECT coalesce(jsonb_agg(zone_view_v1(z) ORDER BY z.position), '[]') FROM zones z))
$$;
