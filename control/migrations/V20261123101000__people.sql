-- People and policy: groups, what they say about their members, and what follows from it for one user.
--
-- Locks are taken in one order everywhere: groups, users, nodes, sessions.

-- The smaller number wins, setting by setting. Everyone, to which all belong without being named, comes last.
CREATE TABLE groups (
    id           uuid PRIMARY KEY,
    name         text NOT NULL CHECK (name <> '' AND length(name) <= 128),
    priority     integer NOT NULL CHECK (priority BETWEEN 1 AND 1000000),
    description  text NOT NULL DEFAULT '' CHECK (length(description) <= 1000),
    -- The two that are always there; null for all others.
    system       text UNIQUE CHECK (system IN ('everyone', 'administrators')),
    -- What the group decides (shared/model/src/policy.rs); what it leaves out, others decide. Zones are named by their ids.
    settings     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    -- What members may administer. Administrators may everything, also what a later release invents.
    permissions  text[] NOT NULL DEFAULT '{}',
    -- Rises with each change.
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((system IS NOT DISTINCT FROM 'everyone') = (priority = 1000000))
);
CREATE UNIQUE INDEX groups_name ON groups (lower(name));

CREATE TABLE group_members (
    group_id  uuid NOT NULL REFERENCES groups ON DELETE CASCADE,
    user_id   uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    added_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id);

-- Their ids are the same everywhere: a deployment's files and programs may name them.
INSERT INTO groups (id, name, priority, description, system) VALUES
    ('00000000-0000-7000-8000-000000000001', 'Everyone', 1000000, 'All users. What it sets holds where no other group says otherwise', 'everyone'),
    ('00000000-0000-7000-8000-000000000002', 'Administrators', 1, 'May administer everything', 'administrators');

-- A lock keeps somebody from signing in and leaves what runs alone; disabling cuts their streams, too. A deleted account stays as long
-- as something that happened speaks of it.
ALTER TABLE users
    ADD COLUMN locked_at             timestamptz,
    ADD COLUMN deleted_at            timestamptz,
    ADD COLUMN must_change_password  boolean NOT NULL DEFAULT false,
    -- Whether session_limit is this account's own. If not, the groups decide.
    ADD COLUMN session_limit_set     boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT users_deleted CHECK (deleted_at IS NULL OR disabled_at IS NOT NULL);
UPDATE users SET session_limit_set = true WHERE session_limit <> 10;
-- A deleted account's name is free again.
DROP INDEX users_name;
CREATE UNIQUE INDEX users_name ON users (lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX users_gone ON users (deleted_at) WHERE deleted_at IS NOT NULL;

-- The release before knows a limit for each account, and no other.
CREATE FUNCTION session_limit_changed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.session_limit_set := true;
    RETURN NEW;
END
$$;
CREATE TRIGGER session_limit_changed BEFORE UPDATE OF session_limit ON users FOR EACH ROW
    WHEN (OLD.session_limit <> NEW.session_limit AND OLD.session_limit_set = NEW.session_limit_set)
    EXECUTE FUNCTION session_limit_changed_v1();

-- The release before asks an account's role: 'admin' are the members of Administrators, whichever way they came to be.
CREATE FUNCTION administrator_made_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO group_members (group_id, user_id) SELECT g.id, NEW.id FROM groups g WHERE g.system = 'administrators'
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER administrator_made AFTER INSERT ON users FOR EACH ROW WHEN (NEW.role = 'admin')
    EXECUTE FUNCTION administrator_made_v1();

CREATE FUNCTION membership_changed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_member group_members;
BEGIN
    v_member := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    UPDATE users SET role = CASE WHEN TG_OP = 'DELETE' THEN 'user' ELSE 'admin' END
        WHERE id = v_member.user_id AND role <> CASE WHEN TG_OP = 'DELETE' THEN 'user' ELSE 'admin' END
          AND EXISTS (SELECT 1 FROM groups g WHERE g.id = v_member.group_id AND g.system = 'administrators');
    RETURN NULL;
END
$$;
CREATE TRIGGER membership_changed AFTER INSERT OR DELETE ON group_members FOR EACH ROW
    EXECUTE FUNCTION membership_changed_v1();

INSERT INTO group_members (group_id, user_id)
    SELECT g.id, u.id FROM groups g, users u WHERE g.system = 'administrators' AND u.role = 'admin';

-- What holds where no group says anything. The same as PolicySettings::defaults() of shared/model, which a test compares.
CREATE FUNCTION policy_defaults_v1() RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT '{
        "session_limit": 10, "workspace_session_limit": 10000,
        "time_limit_s": 0, "idle_timeout_s": 0, "idle_action": "disconnect",
        "allowed_zones": [], "zone_choice": true, "home_zone": null,
        "clipboard_in": true, "clipboard_out": true, "view_only": false,
        "persistent_home": false, "max_cpu": 0, "max_memory_mb": 0, "network": "full"
    }'::jsonb
$$;

-- Each setting of one user with its value and where it comes from: the account itself, a group, or nobody (the default). Where two groups
-- have the same priority, the older one wins.
CREATE FUNCTION policy_rows_v1(u users)
RETURNS TABLE (setting text, value jsonb, source text, group_id uuid, group_name text, group_priority integer)
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (p.setting) p.setting, p.value, p.source, p.group_id, p.group_name, p.group_priority FROM (
        SELECT 'session_limit' AS setting, to_jsonb(u.session_limit) AS value, 'account' AS source, NULL::uuid AS group_id,
            NULL::text AS group_name, NULL::integer AS group_priority, 0 AS turn
        WHERE u.session_limit_set
        UNION ALL
        SELECT e.key, e.value, 'group', g.id, g.name, g.priority, g.priority
        FROM groups g CROSS JOIN LATERAL jsonb_each(g.settings) e
        WHERE g.system = 'everyone' OR g.id IN (SELECT m.group_id FROM group_members m WHERE m.user_id = u.id)
        UNION ALL
        SELECT e.key, e.value, 'default', NULL, NULL, NULL, 1000001 FROM jsonb_each(policy_defaults_v1()) e
    ) p ORDER BY p.setting, p.turn, p.group_id
$$;

-- The policy that holds for a user now, setting by setting, for the hot calls. `allowed_zones` is a list of zone ids (empty: any zone),
-- `home_zone` one zone's id or null; `max_cpu` (cores), `max_memory_mb`, `time_limit_s` and `idle_timeout_s` are 0 where there is no limit;
-- `network` is the freest mode that a workspace may have. A zone that was deleted stays in a list, and names nothing: what was
-- restricted is not set free by that.
CREATE FUNCTION policy_v1(u users) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_object_agg(p.setting, p.value) FROM policy_rows_v1(u) p
$$;

-- Which network mode is freer.
CREATE FUNCTION network_freedom_v1(p_network text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_network WHEN 'none' THEN 0 WHEN 'internet' THEN 1 ELSE 2 END
$$;

-- Whether policy lets a user launch one more of a workspace, wherever it would run: null, or the refusal. The caller holds the lock on the
-- user's row, and gives the row as it is under that lock: the launches of one user are one after the other, so counting is safe.
CREATE FUNCTION may_launch_v1(u users, w workspaces, p_policy jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_limit bigint;
    v_count bigint;
BEGIN
    v_limit := (p_policy->>'session_limit')::bigint;
    IF u.sessions_used >= v_limit THEN
        RETURN jsonb_build_object('outcome', 'limit', 'limit', v_limit);
    END IF;
    v_limit := (p_policy->>'workspace_session_limit')::bigint;
    IF v_limit <= u.sessions_used THEN
        SELECT count(*) INTO v_count FROM sessions s WHERE s.user_id = u.id AND s.workspace_id = w.id AND s.reserved
            AND s.state NOT IN ('ended', 'failed', 'lost');
        IF v_count >= v_limit THEN
            RETURN jsonb_build_object('outcome', 'policy', 'setting', 'workspace_session_limit', 'allowed', v_limit::text);
        END IF;
    END IF;
    IF (p_policy->>'max_cpu')::numeric > 0 AND w.cpu_milli > (p_policy->>'max_cpu')::numeric * 1000 THEN
        RETURN jsonb_build_object('outcome', 'policy', 'setting', 'max_cpu', 'allowed', p_policy->>'max_cpu');
    END IF;
    IF (p_policy->>'max_memory_mb')::bigint > 0 AND w.memory_mb > (p_policy->>'max_memory_mb')::bigint THEN
        RETURN jsonb_build_object('outcome', 'policy', 'setting', 'max_memory_mb', 'allowed', p_policy->>'max_memory_mb');
    END IF;
    IF network_freedom_v1(w.network) > network_freedom_v1(p_policy->>'network') THEN
        RETURN jsonb_build_object('outcome', 'policy', 'setting', 'network', 'allowed', p_policy->>'network');
    END IF;
    RETURN NULL;
END
$$;
