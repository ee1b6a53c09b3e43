-- Accounts, groups, keys and the audit log, as administrators change and see them. `p_may` is what the caller may do: nobody gives away, or
-- takes away, what they do not have themselves. Whatever could leave the deployment without an administrator holds the lock on the
-- group of administrators, so that two who remove each other are one after the other.

-- The streams of users that live sessions may have, in the words that a grant has for them: what must be cut when it changes.
CREATE FUNCTION stream_words_v1(p_users uuid[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(u.id, jsonb_build_array(p->'clipboard_in', p->'clipboard_out', p->'view_only')), '{}')
    FROM users u CROSS JOIN LATERAL policy_v1(u) p
    WHERE u.sessions_used > 0 AND (p_users IS NULL OR u.id = ANY (p_users))
$$;

-- Cuts the streams of those for whom something else holds than before; their pages come back by themselves, with a new grant.
CREATE FUNCTION cut_changed_streams_v1(p_users uuid[], p_before jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_after jsonb := stream_words_v1(p_users);
BEGIN
    UPDATE sessions s SET cut_before = now()
        FROM jsonb_each(v_after) a
        WHERE s.user_id = a.key::uuid AND a.value IS DISTINCT FROM p_before->a.key
          AND s.state NOT IN ('ended', 'failed', 'lost');
END
$$;

-- How many could administer everything if p_user could not.
CREATE FUNCTION other_administrators_v1(p_user uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT count(*) FROM group_members m JOIN groups g ON g.id = m.group_id JOIN users u ON u.id = m.user_id
    WHERE g.system = 'administrators' AND m.user_id <> p_user AND u.disabled_at IS NULL AND u.locked_at IS NULL
$$;

CREATE FUNCTION is_administrator_v1(p_user uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM group_members m JOIN groups g ON g.id = m.group_id
        WHERE g.system = 'administrators' AND m.user_id = p_user)
$$;

-- An account, as administrators see it.
CREATE FUNCTION user_view_v1(u users) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', u.id, 'name', u.name, 'role', u.role, 'disabled', u.disabled_at IS NOT NULL,
        'locked', u.locked_at IS NOT NULL, 'must_change_password', u.must_change_password,
        'session_limit', coalesce((SELECT r.value FROM policy_rows_v1(u) r WHERE r.setting = 'session_limit'), '0'),
        'session_limit_own', u.session_limit_set, 'sessions', u.sessions_used, 'created_at', u.created_at,
        'groups', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'name', g.name) ORDER BY g.priority, g.id), '[]')
            FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = u.id))
$$;

CREATE FUNCTION get_user_v1(p_user text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT user_view_v1(u) FROM users u
        WHERE u.deleted_at IS NULL AND (u.id::text = lower(p_user) OR lower(u.name) = lower(p_user))
        ORDER BY (u.id::text = lower(p_user)) DESC LIMIT 1), 'null')
$$;

CREATE FUNCTION list_users_v1(p_search text, p_after uuid, p_limit integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(user_view_v1(ROW(u.*)::users) ORDER BY lower(u.name), u.id), '[]') FROM (
        SELECT x.* FROM users x
        WHERE x.deleted_at IS NULL AND (p_search = '' OR position(lower(p_search) IN lower(x.name)) > 0)
          AND (p_after IS NULL OR (lower(x.name), x.id) > (SELECT lower(c.name), c.id FROM users c WHERE c.id = p_after))
        ORDER BY lower(x.name), x.id LIMIT p_limit) u
$$;

-- Makes an account. `p_by` is none for the first administrator.
CREATE FUNCTION create_user_v1(
    p_user uuid, p_name text, p_hash text, p_role text, p_must_change boolean, p_by uuid, p_may text[], p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
BEGIN
    IF p_role = 'admin' AND p_by IS NOT NULL AND NOT all_permissions_v1() <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    INSERT INTO users (id, name, password_hash, role, must_change_password)
        VALUES (p_user, p_name, p_hash, p_role, p_must_change) RETURNING * INTO v_user;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'create_user', p_name, 'ok', jsonb_build_object('role', p_role), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'user', user_view_v1(v_user));
END
$$;

-- Changes an account by what p_patch has of name, password_hash, must_change_password, locked, disabled, session_limit (null: the groups
-- decide). Locking and a new password end its logins; disabling cuts its streams, too. Its sessions stay, with what is in them.
CREATE FUNCTION change_user_v1(p_user uuid, p_patch jsonb, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_before users;
    v_user users;
    v_off boolean := coalesce((p_patch->>'disabled')::boolean, false) OR coalesce((p_patch->>'locked')::boolean, false);
BEGIN
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
    UPDATE users SET
        name = coalesce(p_patch->>'name', name),
        password_hash = coalesce(p_patch->>'password_hash', password_hash),
        must_change_password = coalesce((p_patch->>'must_change_password')::boolean, must_change_password),
        locked_at = CASE WHEN (p_patch->>'locked')::boolean THEN coalesce(locked_at, now())
            WHEN NOT (p_patch->>'locked')::boolean THEN NULL ELSE locked_at END,
        disabled_at = CASE WHEN (p_patch->>'disabled')::boolean THEN coalesce(disabled_at, now())
            WHEN NOT (p_patch->>'disabled')::boolean THEN NULL ELSE disabled_at END,
        session_limit = CASE WHEN p_patch ? 'session_limit' THEN coalesce((p_patch->>'session_limit')::integer, 10) ELSE session_limit END
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
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'update_user', v_before.name, 'ok', p_patch - 'password_hash'
            || CASE WHEN p_patch ? 'password_hash' THEN '{"password": true}'::jsonb ELSE '{}' END, p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'user', user_view_v1(v_user));
END
$$;

-- Deletes an account: its logins, keys and memberships go, its sessions end with the reason, its name is free again. What happened stays
-- in the audit log. With sessions that hold a place only if p_end_sessions says so.
CREATE FUNCTION delete_user_v1(p_user uuid, p_end_sessions boolean, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
    v_session uuid;
    v_live bigint;
BEGIN
    PERFORM 1 FROM groups WHERE system = 'administrators' FOR UPDATE;
    SELECT * INTO v_user FROM users WHERE id = p_user AND deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF NOT permissions_v1(p_user) <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    IF p_user = p_by THEN
        RETURN jsonb_build_object('outcome', 'yourself');
    END IF;
    IF is_administrator_v1(p_user) AND other_administrators_v1(p_user) = 0 THEN
        RETURN jsonb_build_object('outcome', 'last_administrator');
    END IF;
    SELECT count(*) INTO v_live FROM sessions WHERE user_id = p_user AND state NOT IN ('ending', 'ended', 'failed', 'lost');
    IF v_live > 0 AND NOT p_end_sessions THEN
        RETURN jsonb_build_object('outcome', 'has_sessions', 'sessions', v_live);
    END IF;
    PERFORM 1 FROM nodes WHERE id IN (SELECT node_id FROM sessions
        WHERE user_id = p_user AND state NOT IN ('ending', 'ended', 'failed', 'lost')) ORDER BY id FOR NO KEY UPDATE;
    FOR v_session IN SELECT id FROM sessions WHERE user_id = p_user
        AND state NOT IN ('ending', 'ended', 'failed', 'lost') ORDER BY id LOOP
        PERFORM order_end_v1(v_session, 'its user was deleted');
    END LOOP;
    DELETE FROM logins WHERE user_id = p_user;
    DELETE FROM api_keys WHERE user_id = p_user;
    DELETE FROM group_members WHERE user_id = p_user;
    UPDATE users SET deleted_at = now(), disabled_at = coalesce(disabled_at, now()) WHERE id = p_user;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'delete_user', v_user.name, 'ok', jsonb_build_object('id', p_user, 'sessions_ended', v_live), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'sessions', v_live);
END
$$;

-- A setting's value with zones by their names of now. A zone that is gone is shown by its id.
CREATE FUNCTION shown_setting_v1(p_setting text, p_value jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_setting = 'allowed_zones' THEN (
            SELECT coalesce(jsonb_agg(coalesce(z.name, e.id) ORDER BY e.place), '[]')
            FROM jsonb_array_elements_text(p_value) WITH ORDINALITY e(id, place) LEFT JOIN zones z ON z.id::text = e.id)
        WHEN p_setting = 'home_zone' AND p_value <> 'null' THEN
            coalesce((SELECT to_jsonb(z.name) FROM zones z WHERE z.id::text = p_value #>> '{}'), p_value)
        ELSE p_value END
$$;

-- A user's policy, setting by setting, and where each value comes from.
CREATE FUNCTION user_policy_v1(p_user uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT jsonb_build_object('user', jsonb_build_object('id', u.id, 'name', u.name), 'items', (
        SELECT jsonb_agg(jsonb_build_object('setting', r.setting, 'value', shown_setting_v1(r.setting, r.value), 'source', r.source,
            'group', CASE WHEN r.group_id IS NOT NULL THEN
                jsonb_build_object('id', r.group_id, 'name', r.group_name, 'priority', r.group_priority) END) ORDER BY r.setting)
        FROM policy_rows_v1(u) r))
    FROM users u WHERE u.id = p_user AND u.deleted_at IS NULL), 'null')
$$;

-- A group, as administrators see it.
CREATE FUNCTION group_view_v1(g groups) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', g.id, 'name', g.name, 'priority', g.priority, 'description', g.description,
        'system', g.system, 'permissions', group_permissions_v1(g), 'version', g.version,
        'settings', (SELECT coalesce(jsonb_object_agg(e.key, shown_setting_v1(e.key, e.value)), '{}') FROM jsonb_each(g.settings) e),
        'members', CASE WHEN g.system = 'everyone' THEN (SELECT count(*) FROM users WHERE deleted_at IS NULL)
            ELSE (SELECT count(*) FROM group_members m WHERE m.group_id = g.id) END)
$$;

CREATE FUNCTION get_group_v1(p_group text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT group_view_v1(g) FROM groups g
        WHERE g.id::text = lower(p_group) OR lower(g.name) = lower(p_group)
        ORDER BY (g.id::text = lower(p_group)) DESC LIMIT 1), 'null')
$$;

CREATE FUNCTION list_groups_v1(p_after uuid, p_limit integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(group_view_v1(ROW(g.*)::groups) ORDER BY g.priority, g.id), '[]') FROM (
        SELECT x.* FROM groups x
        WHERE p_after IS NULL OR (x.priority, x.id) > (SELECT c.priority, c.id FROM groups c WHERE c.id = p_after)
        ORDER BY x.priority, x.id LIMIT p_limit) g
$$;

-- Everyone's members are all users.
CREATE FUNCTION list_members_v1(p_group uuid, p_after uuid, p_limit integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', u.id, 'name', u.name) ORDER BY lower(u.name), u.id), '[]') FROM (
        SELECT x.id, x.name FROM users x
        WHERE x.deleted_at IS NULL
          AND EXISTS (SELECT 1 FROM groups g WHERE g.id = p_group AND (g.system = 'everyone'
              OR EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = g.id AND m.user_id = x.id)))
          AND (p_after IS NULL OR (lower(x.name), x.id) > (SELECT lower(c.name), c.id FROM users c WHERE c.id = p_after))
        ORDER BY lower(x.name), x.id LIMIT p_limit) u
$$;

CREATE FUNCTION create_group_v1(
    p_group uuid, p_name text, p_priority integer, p_description text, p_settings jsonb, p_permissions text[],
    p_by uuid, p_may text[], p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_group groups;
BEGIN
    IF NOT p_permissions <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    INSERT INTO groups (id, name, priority, description, settings, permissions)
        VALUES (p_group, p_name, p_priority, p_description, p_settings, p_permissions) RETURNING * INTO v_group;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'create_group', p_name, 'ok', jsonb_build_object('priority', p_priority, 'settings', p_settings,
            'permissions', p_permissions), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'group', group_view_v1(v_group));
END
$$;

-- Changes a group as long as it is as the caller read it. A null leaves a part as it is. Streams to which something else applies than
-- before are cut.
CREATE FUNCTION change_group_v1(
    p_group uuid, p_version bigint, p_name text, p_priority integer, p_description text, p_settings jsonb, p_permissions text[],
    p_by uuid, p_may text[], p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_before groups;
    v_group groups;
    v_users uuid[];
    v_streams jsonb;
BEGIN
    SELECT * INTO v_before FROM groups WHERE id = p_group FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_before.version <> p_version THEN
        RETURN jsonb_build_object('outcome', 'changed_meanwhile');
    END IF;
    IF NOT group_permissions_v1(v_before) <@ p_may OR NOT coalesce(p_permissions, '{}') <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    IF v_before.system <> 'everyone' OR v_before.system IS NULL THEN
        v_users := ARRAY(SELECT user_id FROM group_members WHERE group_id = p_group);
    END IF;
    v_streams := stream_words_v1(v_users);
    UPDATE groups SET name = coalesce(p_name, name), priority = coalesce(p_priority, priority),
        description = coalesce(p_description, description), settings = coalesce(p_settings, settings),
        permissions = coalesce(p_permissions, permissions), version = version + 1
        WHERE id = p_group RETURNING * INTO v_group;
    PERFORM cut_changed_streams_v1(v_users, v_streams);
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'update_group', v_before.name, 'ok', jsonb_strip_nulls(jsonb_build_object('name', p_name, 'priority', p_priority,
            'settings', p_settings, 'permissions', p_permissions)), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'group', group_view_v1(v_group));
END
$$;

CREATE FUNCTION delete_group_v1(p_group uuid, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_group groups;
    v_users uuid[];
    v_streams jsonb;
BEGIN
    SELECT * INTO v_group FROM groups WHERE id = p_group FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_group.system IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'system');
    END IF;
    IF NOT v_group.permissions <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    v_users := ARRAY(SELECT user_id FROM group_members WHERE group_id = p_group);
    v_streams := stream_words_v1(v_users);
    DELETE FROM groups WHERE id = p_group;
    PERFORM cut_changed_streams_v1(v_users, v_streams);
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'delete_group', v_group.name, 'ok', jsonb_build_object('settings', v_group.settings,
            'permissions', v_group.permissions, 'members', cardinality(v_users)), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- Puts somebody into a group, or takes them out; what is so already stays so.
CREATE FUNCTION set_membership_v1(p_group uuid, p_user uuid, p_member boolean, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_group groups;
    v_user users;
    v_streams jsonb;
BEGIN
    SELECT * INTO v_group FROM groups WHERE id = p_group FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found', 'what', 'group');
    END IF;
    SELECT * INTO v_user FROM users WHERE id = p_user AND deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found', 'what', 'user');
    END IF;
    IF v_group.system = 'everyone' THEN
        RETURN jsonb_build_object('outcome', 'system');
    END IF;
    IF NOT group_permissions_v1(v_group) <@ p_may OR NOT permissions_v1(p_user) <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    IF v_group.system = 'administrators' AND NOT p_member AND is_administrator_v1(p_user) AND other_administrators_v1(p_user) = 0 THEN
        RETURN jsonb_build_object('outcome', 'last_administrator');
    END IF;
    v_streams := stream_words_v1(ARRAY[p_user]);
    IF p_member THEN
        INSERT INTO group_members (group_id, user_id) VALUES (p_group, p_user) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM group_members WHERE group_id = p_group AND user_id = p_user;
    END IF;
    IF FOUND THEN
        PERFORM cut_changed_streams_v1(ARRAY[p_user], v_streams);
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
            VALUES (p_by, CASE WHEN p_member THEN 'add_member' ELSE 'remove_member' END, v_group.name, 'ok',
                jsonb_build_object('user', v_user.name, 'user_id', p_user), p_address, p_request);
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- A key, without its secret.
CREATE FUNCTION key_view_v1(k api_keys) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', k.id, 'name', k.name, 'hint', k.hint, 'permissions', k.permissions,
        'user', (SELECT jsonb_build_object('id', u.id, 'name', u.name) FROM users u WHERE u.id = k.user_id),
        'zones', shown_setting_v1('allowed_zones', to_jsonb(k.zones)),
        'created_at', k.created_at, 'expires_at', k.expires_at, 'last_used_at', k.last_used_at, 'last_address', k.last_address,
        'state', CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired' ELSE 'active' END)
$$;

CREATE FUNCTION create_key_v1(
    p_key uuid, p_user uuid, p_name text, p_hash bytea, p_hint text, p_permissions text[], p_zones uuid[], p_days integer,
    p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_key api_keys;
BEGIN
    -- One after the other, so that their number has a bound.
    PERFORM 1 FROM users WHERE id = p_user FOR NO KEY UPDATE;
    IF NOT array_remove(p_permissions, 'sessions:own') <@ permissions_v1(p_user) THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    IF (SELECT count(*) FROM api_keys WHERE user_id = p_user AND revoked_at IS NULL AND expires_at > now()) >= 100 THEN
        RETURN jsonb_build_object('outcome', 'too_many');
    END IF;
    INSERT INTO api_keys (id, user_id, name, token_hash, hint, permissions, zones, expires_at)
        VALUES (p_key, p_user, p_name, p_hash, p_hint, p_permissions, p_zones, now() + make_interval(days => p_days))
        RETURNING * INTO v_key;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_user, 'create_key', p_name, 'ok', jsonb_build_object('key', p_key, 'permissions', p_permissions,
            'zones', p_zones, 'expires_at', v_key.expires_at), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'key', key_view_v1(v_key));
END
$$;

-- Newest first: one user's, or with a null everybody's.
CREATE FUNCTION list_keys_v1(p_user uuid, p_after uuid, p_limit integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(key_view_v1(ROW(k.*)::api_keys) ORDER BY k.id DESC), '[]') FROM (
        SELECT x.* FROM api_keys x WHERE (p_user IS NULL OR x.user_id = p_user) AND (p_after IS NULL OR x.id < p_after)
        ORDER BY x.id DESC LIMIT p_limit) k
$$;

-- Revokes a key: one's own, or with p_others anybody's who may not more than the caller. One that is not the caller's to see looks like none.
CREATE FUNCTION revoke_key_v1(p_key uuid, p_by uuid, p_others boolean, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_key api_keys;
BEGIN
    SELECT * INTO v_key FROM api_keys WHERE id = p_key AND (user_id = p_by OR p_others) FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_key.user_id <> p_by AND NOT permissions_v1(v_key.user_id) <@ p_may THEN
        RETURN jsonb_build_object('outcome', 'beyond');
    END IF;
    IF v_key.revoked_at IS NULL THEN
        UPDATE api_keys SET revoked_at = now() WHERE id = p_key;
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
            VALUES (p_by, 'revoke_key', v_key.name, 'ok', jsonb_build_object('key', p_key, 'of', v_key.user_id), p_address, p_request);
    END IF;
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- Web App nodes gather which keys were used, and write it down together.
CREATE FUNCTION touch_keys_v1(p_hashes bytea[], p_addresses text[]) RETURNS void LANGUAGE sql AS $$
    UPDATE api_keys k SET last_used_at = now(), last_address = t.address
    FROM unnest(p_hashes, p_addresses) t(hash, address)
    WHERE k.token_hash = t.hash AND k.revoked_at IS NULL AND k.expires_at > now()
$$;

CREATE INDEX audit_user ON audit (user_id, id);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_target ON audit (target, id);

-- What happened, newest first. Nulls filter nothing; an account is named by its id.
CREATE FUNCTION list_audit_v1(
    p_user uuid, p_action text, p_target text, p_outcome text, p_since timestamptz, p_until timestamptz, p_after bigint, p_limit integer
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'at', a.at,
        'user', CASE WHEN a.user_id IS NOT NULL THEN jsonb_build_object('id', a.user_id,
            'name', coalesce((SELECT u.name FROM users u WHERE u.id = a.user_id), a.user_id::text)) END,
        'node', CASE WHEN a.node_id IS NOT NULL THEN jsonb_build_object('id', a.node_id,
            'name', coalesce((SELECT n.name FROM nodes n WHERE n.id = a.node_id), a.node_id::text)) END,
        'action', a.action, 'target', a.target, 'outcome', a.outcome, 'detail', a.detail, 'address', a.address,
        'request_id', a.request_id) ORDER BY a.id DESC), '[]')
    FROM (SELECT * FROM audit x
        WHERE (p_user IS NULL OR x.user_id = p_user) AND (p_action IS NULL OR x.action = p_action)
          AND (p_target IS NULL OR x.target = p_target) AND (p_outcome IS NULL OR x.outcome = p_outcome)
          AND (p_since IS NULL OR x.at >= p_since) AND (p_until IS NULL OR x.at < p_until)
          AND (p_after IS NULL OR x.id < p_after)
        ORDER BY x.id DESC LIMIT p_limit) a
$$;
