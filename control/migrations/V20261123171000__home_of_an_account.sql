-- An account's own home zone is set and taken away like its other fields; lists of sessions are filtered.

CREATE OR REPLACE FUNCTION user_view_v1(u users) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object('id', u.id, 'name', u.name, 'role', u.role, 'disabled', u.disabled_at IS NOT NULL,
        'locked', u.locked_at IS NOT NULL, 'must_change_password', u.must_change_password,
        'session_limit', coalesce((SELECT r.value FROM policy_rows_v1(u) r WHERE r.setting = 'session_limit'), '0'),
        'session_limit_own', u.session_limit_set, 'home_zone', shown_setting_v1('home_zone', to_jsonb(u.home_zone)),
        'sessions', u.sessions_used, 'created_at', u.created_at,
        'groups', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'name', g.name) ORDER BY g.priority, g.id), '[]')
            FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id));
END
$$;

-- Changes an account by what p_patch has of name, password_hash, must_change_password, locked, disabled, session_limit and home_zone (a zone's
-- name or id); of the last two, null means that the groups decide. Locking and a new password end its logins; disabling cuts its streams, too.
-- Its sessions stay, with what is in them.
CREATE OR REPLACE FUNCTION change_user_v1(p_user uuid, p_patch jsonb, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_before users;
    v_user users;
    v_home zones;
    v_allowed jsonb;
    v_session record;
    v_off boolean := coalesce((p_patch->>'disabled')::boolean, false) OR coalesce((p_patch->>'locked')::boolean, false);
BEGIN
    IF p_patch ? 'home_zone' THEN
        -- Lock order, as where a move is undone: moves, groups, users, nodes, sessions.
        PERFORM 1 FROM reassignments WHERE undone_at IS NULL AND before->'users' ? p_user::text ORDER BY id FOR UPDATE;
    END IF;
    PERFORM 1 FROM groups WHERE system = 'administrators' FOR UPDATE;
    SELECT * INTO v_before FROM users WHERE id = p_user AND deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF NOT permissions_v1(p_user) <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    IF v_off AND p_user = p_by THEN
        RETURN jsonb_build_object('outcome', 'yourself');
    END IF;
    IF v_off AND is_administrator_v1(p_user) AND other_administrators_v1(p_user) = 0 THEN
        RETURN jsonb_build_object('outcome', 'last_administrator');
    END IF;
    IF p_patch->>'home_zone' IS NOT NULL THEN
        SELECT * INTO v_home FROM zones WHERE name = p_patch->>'home_zone' OR id::text = lower(p_patch->>'home_zone')
            ORDER BY (name = p_patch->>'home_zone') DESC LIMIT 1;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'no_zone');
        END IF;
        v_allowed := policy_v1(v_before)->'allowed_zones';
        IF v_allowed <> '[]' AND NOT v_allowed ? v_home.id::text THEN
            RETURN jsonb_build_object('outcome', 'zone_not_allowed', 'zone', v_home.name);
        END IF;
    END IF;
    UPDATE users SET
        name = coalesce(p_patch->>'name', name),
        password_hash = coalesce(p_patch->>'password_hash', password_hash),
        must_change_password = coalesce((p_patch->>'must_change_password')::boolean, must_change_password),
        locked_at = CASE WHEN (p_patch->>'locked')::boolean THEN coalesce(locked_at, now())
            WHEN NOT (p_patch->>'locked')::boolean THEN NULL ELSE locked_at END,
        disabled_at = CASE WHEN (p_patch->>'disabled')::boolean THEN coalesce(disabled_at, now())
            WHEN NOT (p_patch->>'disabled')::boolean THEN NULL ELSE disabled_at END,
        session_limit = CASE WHEN p_patch ? 'session_limit' THEN coalesce((p_patch->>'session_limit')::integer, 10) ELSE session_limit END,
        home_zone = CASE WHEN p_patch ? 'home_zone' THEN v_home.id ELSE home_zone END
        WHERE id = p_user;
    IF p_patch ? 'session_limit' THEN
        UPDATE users SET session_limit_set = (p_patch->>'session_limit') IS NOT NULL WHERE id = p_user;
    END IF;
    SELECT * INTO v_user FROM users WHERE id = p_user;
    IF v_off OR p_patch ? 'password_hash' THEN
        DELETE FROM logins WHERE user_id = p_user;
    END IF;
    IF v_user.disabled_at IS NOT NULL AND v_before.disabled_at IS NULL THEN
        UPDATE sessions SET cut_before = now() WHERE user_id = p_user AND state NOT IN ('ended', 'failed', 'lost');
    END IF;
    IF p_patch ? 'home_zone' THEN
        -- What was decided for this account since is no longer what a move made it: undoing the move leaves it, also where both name one zone.
        UPDATE reassignments SET before = before #- ARRAY['users', p_user::text]
            WHERE undone_at IS NULL AND before->'users' ? p_user::text;
        -- Nor is anything offered to be launched again where its user does not belong any more.
        FOR v_session IN SELECT s.id, s.node_id FROM sessions s JOIN reassignments r ON r.id = s.reassignment_id
            WHERE s.user_id = p_user AND r.to_zone::text IS DISTINCT FROM policy_v1(v_user)->>'home_zone'
            ORDER BY s.id FOR NO KEY UPDATE OF s LOOP
            UPDATE sessions SET reassignment_id = NULL WHERE id = v_session.id;
            PERFORM announce_v1(v_session.node_id, v_session.id);
        END LOOP;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'update_user', v_before.name, 'ok', p_patch - 'password_hash'
            || CASE WHEN p_patch ? 'password_hash' THEN '{"password": true}'::jsonb ELSE '{}' END
            || CASE WHEN p_patch ? 'home_zone' THEN jsonb_build_object('home_zone', v_home.name) ELSE '{}' END, p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'user', user_view_v1(v_user));
END
$$;

-- One's own sessions, or with p_all everybody's, as far as a key's zones go, newest first. p_filter, of everybody's: `user`, `zone` and `node` by
-- name or id, and `state`. Which filters there are decides how they are best looked for, so the page's ids are planned for each call; what is
-- shown of them keeps its plan.
CREATE FUNCTION list_sessions_v3(p_token bytea, p_all boolean, p_ended boolean, p_filter jsonb, p_after uuid, p_limit integer)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_caller record;
    v_user uuid;
    v_zones uuid[];
    v_nodes uuid[];
    v_ids uuid[];
    v_items jsonb;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF NOT (CASE WHEN p_all THEN 'sessions:view' = ANY (v_caller.permissions) ELSE v_caller.own END) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    IF NOT p_all THEN
        v_user := v_caller.id;
    ELSIF p_filter ? 'user' THEN
        SELECT u.id INTO v_user FROM users u WHERE lower(u.name) = lower(p_filter->>'user') AND u.deleted_at IS NULL;
        IF NOT FOUND THEN
            SELECT u.id INTO v_user FROM users u WHERE u.id::text = lower(p_filter->>'user');
        END IF;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'no_user');
        END IF;
    END IF;
    IF p_filter ? 'zone' THEN
        -- Sessions that ended in a zone that is gone are shown with its name.
        v_zones := ARRAY(SELECT z.id FROM zones z WHERE p_filter->>'zone' IN (z.name, z.id::text)
            UNION SELECT g.id FROM gone_zones g WHERE p_filter->>'zone' IN (g.name, g.id::text));
        IF v_zones = '{}' THEN
            RETURN jsonb_build_object('outcome', 'no_zone');
        END IF;
    END IF;
    IF p_filter ? 'node' THEN
        -- A name may have been another node's before.
        v_nodes := ARRAY(SELECT n.id FROM nodes n WHERE p_filter->>'node' IN (n.name, n.id::text));
        IF v_nodes = '{}' THEN
            RETURN jsonb_build_object('outcome', 'no_node');
        END IF;
    END IF;
    EXECUTE $list$
        SELECT ARRAY(SELECT x.id FROM sessions x
            WHERE ($1::uuid IS NULL OR x.user_id = $1)
              AND ($2::uuid[] IS NULL OR x.zone_id = ANY ($2))
              AND ($3::uuid[] IS NULL OR x.zone_id = ANY ($3))
              AND ($4::uuid[] IS NULL OR x.node_id = ANY ($4))
              AND ($5::text IS NULL OR x.state = $5)
              AND ($6::boolean OR x.state NOT IN ('ended', 'failed', 'lost'))
              AND ($7::uuid IS NULL OR x.id < $7)
            ORDER BY x.id DESC LIMIT $8)
        $list$ INTO v_ids
        USING v_user, v_caller.zones, v_zones, v_nodes, p_filter->>'state',
            p_ended OR coalesce(p_filter->>'state' IN ('ended', 'failed', 'lost'), false), p_after, p_limit;
    SELECT coalesce(jsonb_agg(session_view_v1(s) ORDER BY s.id DESC), '[]') INTO v_items FROM sessions s WHERE s.id = ANY (v_ids);
    RETURN jsonb_build_object('outcome', 'ok', 'items', v_items);
END
$$;
