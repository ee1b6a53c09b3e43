-- Persistent homes: a volume for a user and a workspace, which stays on the agent that made it, or lies on storage that its zone's agents share.
--
-- Locks are taken in one order everywhere: groups, users, nodes, sessions, homes. Launches and resets hold the lock on the user.

CREATE TABLE homes (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users,
    workspace_id  uuid NOT NULL REFERENCES workspaces,
    -- Path of the storage that it is on; null: on its agent's own disk.
    storage       text,
    -- Where it lies, or on storage who had it last, and what that is called, also when the node or the zone is not there any more.
    node_id       uuid NOT NULL,
    zone_id       uuid NOT NULL,
    node_name     text NOT NULL,
    size_mb       bigint NOT NULL,
    -- The one session that may write to it, until nothing of that session is left at its agent.
    session_id    uuid UNIQUE,
    -- Rises with each writer.
    generation    bigint NOT NULL DEFAULT 1,
    -- An administrator took it from all writers up to this one.
    forced_epoch  bigint,
    forced_generation bigint,
    created_at    timestamptz NOT NULL DEFAULT now(),
    used_at       timestamptz NOT NULL DEFAULT now(),
    -- Its user does not want it any more; its agent is told to remove it, and the row goes when that has happened.
    reset_at      timestamptz
);
CREATE UNIQUE INDEX homes_of_user ON homes (user_id, workspace_id) WHERE reset_at IS NULL;
CREATE INDEX homes_to_forget ON homes (node_id) WHERE reset_at IS NOT NULL;
CREATE INDEX homes_by_user ON homes (user_id, id);

ALTER TABLE sessions ADD COLUMN home_id uuid;

-- A session's home is free when nothing of the session is left. One on storage whose first session showed nothing was perhaps never made: it
-- is nobody's, so that one that is not there is never taken for a new one.
CREATE FUNCTION home_released_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE homes SET session_id = NULL, used_at = now() WHERE id = NEW.home_id AND session_id = NEW.id;
    IF FOUND AND NEW.started_at IS NULL THEN
        UPDATE homes SET reset_at = now(), generation = generation + 1
            WHERE id = NEW.home_id AND storage IS NOT NULL AND generation = 1 AND reset_at IS NULL;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER home_released AFTER UPDATE OF gone_at ON sessions FOR EACH ROW
    WHEN (OLD.gone_at IS NULL AND NEW.gone_at IS NOT NULL AND NEW.home_id IS NOT NULL)
    EXECUTE FUNCTION home_released_v1();

-- Whether something of a home is left that can be removed: one on an agent's disk goes with its agent.
CREATE FUNCTION home_lies_v1(h homes) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM zones z WHERE z.id = h.zone_id)
        AND (h.storage IS NOT NULL OR EXISTS (SELECT 1 FROM nodes n WHERE n.id = h.node_id AND n.removed_at IS NULL))
$$;

-- With an account go its homes.
CREATE FUNCTION homes_of_deleted_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM homes h WHERE h.user_id = NEW.id AND NOT home_lies_v1(h);
    UPDATE homes SET reset_at = now(), generation = generation + 1 WHERE user_id = NEW.id AND reset_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER homes_of_deleted AFTER UPDATE OF deleted_at ON users FOR EACH ROW
    WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION homes_of_deleted_v1();

-- How a home stands, in one word.
CREATE FUNCTION home_state_v1(h homes) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN h.reset_at IS NOT NULL THEN 'removing'
        WHEN NOT home_lies_v1(h) THEN 'lost'
        -- Who has it does not answer: whether they write nobody knows, and the home goes to nobody else.
        WHEN h.session_id IS NOT NULL AND h.storage IS NOT NULL AND (n.id IS NULL OR NOT node_is_reachable_v1(n.last_seen_at)) THEN 'held'
        WHEN s.state IN ('ending', 'ended', 'failed', 'lost') THEN 'put_away'
        WHEN h.session_id IS NOT NULL THEN 'in_use'
        WHEN CASE WHEN h.storage IS NULL THEN NOT node_is_reachable_v1(n.last_seen_at)
            ELSE NOT EXISTS (SELECT 1 FROM nodes x WHERE x.zone_id = h.zone_id AND x.role = 'agent' AND x.removed_at IS NULL
                AND node_is_reachable_v1(x.last_seen_at) AND x.report->>'shared_homes' = h.storage) END THEN 'away'
        ELSE 'free' END
    FROM (SELECT 1) one
    LEFT JOIN nodes n ON n.id = h.node_id AND n.removed_at IS NULL
    LEFT JOIN sessions s ON s.id = h.session_id
$$;

-- Why a launch cannot have its home; null when it can. p_zone is the zone that was asked for, if one was.
CREATE FUNCTION home_refusal_v1(h homes, p_zone text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_state text := home_state_v1(h);
    v_zone text := (SELECT z.name FROM zones z WHERE z.id = h.zone_id);
    v_words text;
BEGIN
    IF v_state IN ('free', 'away') AND p_zone <> v_zone THEN
        v_state := 'elsewhere';
    END IF;
    v_words := CASE v_state
        WHEN 'lost' THEN 'your home of it was on ' || CASE WHEN h.storage IS NULL THEN h.node_name || ', which was removed' ELSE 'the storage of a zone that was deleted' END
        WHEN 'held' THEN 'your home of it is held by ' || h.node_name || ', which does not answer and has not released it'
        WHEN 'put_away' THEN 'your home of it is still being put away on ' || h.node_name
        WHEN 'in_use' THEN 'your home of it is in use by another session of yours'
        WHEN 'elsewhere' THEN 'your home of it is in zone ' || v_zone
        WHEN 'away' THEN CASE WHEN h.storage IS NULL THEN 'your home of it is on ' || h.node_name || ', which does not answer'
            ELSE 'your home of it is on storage that no agent of zone ' || v_zone || ' reaches now' END END;
    IF v_words IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object('outcome', 'home', 'problem', v_state, 'words', v_words, 'agent', h.node_name,
        'zone', coalesce(v_zone, ''), 'session', h.session_id);
END
$$;

-- What an agent lacks for a home: for `h`, or where `h` is none for a new one, which is kept on its zone's storage where that is not ''.
-- Null when it lacks nothing.
CREATE FUNCTION home_barrier_v1(p_node uuid, p_report jsonb, h homes, p_zone uuid, p_storage text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN h.storage IS NOT NULL AND p_zone <> h.zone_id THEN 'the home is in another zone'
        WHEN h.storage IS NULL AND h.id IS NOT NULL AND p_node <> h.node_id THEN 'the home is on another agent'
        WHEN h.storage IS NOT NULL OR h.id IS NULL AND coalesce(p_storage, '') <> '' THEN
            CASE WHEN p_report->>'shared_homes' IS DISTINCT FROM coalesce(h.storage, p_storage) THEN 'does not reach the storage of homes' END
        WHEN NOT p_report @> '{"keeps_homes": true}' THEN 'keeps no homes' END
$$;

-- Finds an agent for a home, beginning in `z`, and takes the place: where `h` is already, or where a new one can be kept. The explanation says
-- of all others what they lack for it.
CREATE FUNCTION place_for_home_v1(z zones, w workspaces, p_allowed jsonb, h homes, OUT chosen nodes, OUT explanation jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_counts jsonb;
    v_first jsonb;
    v_fits uuid[];
    v_reasons text[];
    v_reason text;
BEGIN
    FOR turn IN 1..1000 LOOP
        WITH judged AS MATERIALIZED (
            SELECT t.name AS zone, c.id, c.name, r.reason,
                CASE WHEN r.reason = c.reason THEN c.verdict ELSE r.reason END AS verdict,
                row_number() OVER (ORDER BY t.turn, (h.storage IS NULL AND c.id = h.node_id) IS NOT TRUE, c.loads_first, c.comes_and_goes, c.rank, c.id) AS place
            FROM tried_zones_v1(z, w, p_allowed) t
            CROSS JOIN LATERAL candidates_v2(t.id, t.settings->>'load_strategy', (t.settings->>'prioritize_static_agents')::boolean,
                t.labels, w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb, waits_for_image_v1(w, t.settings)) c
            JOIN nodes n ON n.id = c.id
            CROSS JOIN LATERAL (SELECT coalesce(home_barrier_v1(c.id, n.report, h, t.id, t.settings->>'home_storage'), c.reason) AS reason) r
            WHERE t.barrier IS NULL)
        SELECT
            (SELECT coalesce(jsonb_object_agg(r.reason, r.number), '{}')
                FROM (SELECT j.reason, count(*) AS number FROM judged j GROUP BY j.reason) r),
            (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', j.zone, 'agent', j.name, 'verdict', j.verdict) ORDER BY j.place), '[]')
                FROM judged j WHERE j.place <= 20),
            ARRAY(SELECT j.id FROM judged j WHERE starts_with(j.reason, 'fits') ORDER BY j.place LIMIT 8),
            ARRAY(SELECT j.reason FROM judged j WHERE starts_with(j.reason, 'fits') ORDER BY j.place LIMIT 8)
            INTO v_counts, v_first, v_fits, v_reasons;
        FOR i IN 1..cardinality(v_fits) LOOP
            chosen := reserve_v1(v_fits[i], w);
            v_reason := v_reasons[i];
            EXIT WHEN chosen.id IS NOT NULL;
        END LOOP;
        EXIT WHEN chosen.id IS NOT NULL OR v_fits = '{}';
    END LOOP;
    IF chosen.id IS NOT NULL THEN
        v_counts := v_counts || '{"chosen": 1}' || jsonb_build_object(v_reason, (v_counts->>v_reason)::bigint - 1);
        IF v_counts->>v_reason = '0' THEN
            v_counts := v_counts - v_reason;
        END IF;
        SELECT jsonb_agg(CASE WHEN f.c->>'agent' <> chosen.name THEN f.c ELSE f.c || jsonb_build_object('verdict',
                CASE v_reason WHEN 'fits' THEN 'chosen'
                    WHEN 'fits, but failed to load its image' THEN 'chosen; it loads the image first, which failed the last time'
                    ELSE 'chosen; it loads the image first' END) END ORDER BY f.place)
            INTO v_first FROM jsonb_array_elements(v_first) WITH ORDINALITY f(c, place);
    END IF;
    explanation := jsonb_build_object('counts', v_counts, 'candidates', v_first,
        'zones', (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', t.name, 'verdict', coalesce(t.barrier,
                CASE WHEN t.id = chosen.zone_id THEN 'chosen' ELSE 'asked' END)) ORDER BY t.turn), '[]')
            FROM tried_zones_v1(z, w, p_allowed) t),
        'chosen', (SELECT jsonb_build_object('zone', t.name, 'agent', chosen.name) FROM zones t WHERE t.id = chosen.zone_id));
END
$$;

-- A home as its agent is told of it.
CREATE FUNCTION home_order_v1(h homes) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', h.id, 'size_mb', h.size_mb) || CASE WHEN h.storage IS NULL THEN '{}' ELSE jsonb_build_object('shared',
        jsonb_build_object('storage', h.storage, 'turn', jsonb_build_object('epoch', d.control_epoch, 'generation', h.generation))
            || CASE WHEN h.forced_generation IS NULL THEN '{}' ELSE jsonb_build_object('forced',
                jsonb_build_object('epoch', h.forced_epoch, 'generation', h.forced_generation)) END) END
    FROM deployment d
$$;

-- Gives a session its home, an old one or a new one: nobody else has it. The caller holds the lock on the user.
CREATE FUNCTION claim_home_v1(p_session uuid, p_old uuid, p_size bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_home homes;
BEGIN
    IF p_old IS NOT NULL THEN
        UPDATE homes h SET session_id = p_session, generation = h.generation + 1, used_at = now(), node_id = n.id, node_name = n.name
            FROM sessions s JOIN nodes n ON n.id = s.node_id
            WHERE s.id = p_session AND h.id = p_old AND h.session_id IS NULL AND h.reset_at IS NULL RETURNING h.* INTO v_home;
    ELSE
        INSERT INTO homes (id, user_id, workspace_id, node_id, zone_id, node_name, size_mb, session_id, storage)
            SELECT gen_random_uuid(), s.user_id, s.workspace_id, s.node_id, s.zone_id, n.name, p_size, s.id,
                nullif(z.settings->>'home_storage', '')
            FROM sessions s JOIN nodes n ON n.id = s.node_id JOIN zones z ON z.id = s.zone_id WHERE s.id = p_session
            RETURNING * INTO v_home;
    END IF;
    IF v_home.id IS NULL THEN
        RAISE EXCEPTION 'the home % of session % was taken by another writer', p_old, p_session;
    END IF;
    RETURN home_order_v1(v_home);
END
$$;

-- What an agent says of the homes it was told to remove, and which there still are. Of those on its zone's storage each agent is told.
CREATE FUNCTION told_homes_v1(p_node uuid, p_agent jsonb, p_answer jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF p_agent->'homes_gone' <> '[]' THEN
        DELETE FROM homes h USING nodes n WHERE n.id = p_node AND h.reset_at IS NOT NULL AND p_agent->'homes_gone' ? h.id::text
            AND CASE WHEN h.storage IS NULL THEN h.node_id = n.id ELSE h.zone_id = n.zone_id END;
    END IF;
    RETURN jsonb_set(p_answer, '{update,forget_homes}', (
        SELECT coalesce(jsonb_agg(home_order_v1(ROW(h.*)::homes) ORDER BY h.id), '[]') FROM homes h JOIN nodes n ON n.id = p_node
        WHERE h.reset_at IS NOT NULL AND CASE WHEN h.storage IS NULL THEN h.node_id = n.id
            ELSE h.zone_id = n.zone_id AND h.storage = p_agent->>'shared_homes' END));
END
$$;

-- A home, as its user and administrators see it.
CREATE FUNCTION home_view_v1(h homes) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', h.id, 'name', w.name, 'workspace_id', w.id, 'user', jsonb_build_object('id', u.id, 'name', u.name),
        'agent', h.node_name, 'zone', (SELECT z.name FROM zones z WHERE z.id = h.zone_id), 'state', home_state_v1(h),
        'storage', h.storage, 'gone', CASE WHEN u.deleted_at IS NOT NULL THEN 'user' WHEN w.deleted_at IS NOT NULL THEN 'workspace' END,
        'size_mb', h.size_mb, 'session_id', h.session_id, 'created_at', h.created_at, 'used_at', h.used_at)
    FROM workspaces w, users u WHERE w.id = h.workspace_id AND u.id = h.user_id
$$;

-- A person's own homes, or with p_all everybody's, by their ids. p_filter, for those of everybody, has what each must be: "user" (an id),
-- "workspace", "zone", "agent", "state", "gone"; what it leaves out filters nothing.
CREATE FUNCTION list_homes_v1(p_token bytea, p_all boolean, p_filter jsonb, p_after uuid, p_limit integer)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_caller record;
    v_user uuid;
    v_items jsonb;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF NOT (CASE WHEN p_all THEN 'sessions:view' = ANY (v_caller.permissions) ELSE v_caller.own END) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    v_user := CASE WHEN p_all THEN (p_filter->>'user')::uuid ELSE v_caller.id END;
    IF v_user IS NOT NULL THEN
        SELECT coalesce(jsonb_agg(home_view_v1(ROW(h.*)::homes) ORDER BY h.id), '[]') INTO v_items FROM (
            SELECT x.* FROM homes x WHERE x.user_id = v_user AND (p_after IS NULL OR x.id > p_after)
              AND (v_caller.zones IS NULL OR x.zone_id = ANY (v_caller.zones))
              AND CASE WHEN p_all THEN home_is_v1(x, p_filter) ELSE x.reset_at IS NULL END
            ORDER BY x.id LIMIT p_limit) h;
    ELSE
        SELECT coalesce(jsonb_agg(home_view_v1(ROW(h.*)::homes) ORDER BY h.id), '[]') INTO v_items FROM (
            SELECT x.* FROM homes x WHERE (p_after IS NULL OR x.id > p_after)
              AND (v_caller.zones IS NULL OR x.zone_id = ANY (v_caller.zones))
              AND (p_filter = '{}' OR home_is_v1(x, p_filter))
            ORDER BY x.id LIMIT p_limit) h;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'items', v_items);
END
$$;

-- Whether a home is what a list is to have.
CREATE FUNCTION home_is_v1(h homes, p_filter jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT (p_filter->>'agent' IS NULL OR h.node_name = p_filter->>'agent')
        AND (p_filter->>'workspace' IS NULL OR p_filter->>'workspace' IN (w.name, w.id::text))
        AND (p_filter->>'zone' IS NULL OR EXISTS (SELECT 1 FROM zones z WHERE z.id = h.zone_id AND z.name = p_filter->>'zone'))
        AND (p_filter->'gone' IS DISTINCT FROM 'true' OR u.deleted_at IS NOT NULL OR w.deleted_at IS NOT NULL)
        AND (p_filter->>'state' IS NULL OR home_state_v1(h) = p_filter->>'state')
    FROM workspaces w, users u WHERE w.id = h.workspace_id AND u.id = h.user_id
$$;

-- Whoever owns a home, or may delete sessions, wants it no more: the next launch begins with an empty one. Not while a session has it.
-- Somebody else's looks like none.
CREATE FUNCTION reset_home_v1(p_token bytea, p_home uuid, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_home homes;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_home FROM homes WHERE id = p_home AND reset_at IS NULL
        AND (user_id = v_caller.id AND v_caller.own OR 'sessions:delete' = ANY (v_caller.permissions))
        AND (v_caller.zones IS NULL OR zone_id = ANY (v_caller.zones));
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    -- Launches of its user's come before or after.
    PERFORM 1 FROM users WHERE id = v_home.user_id FOR NO KEY UPDATE;
    -- And so does the removal of its machine.
    PERFORM 1 FROM nodes WHERE id = v_home.node_id FOR KEY SHARE;
    SELECT * INTO v_home FROM homes WHERE id = p_home AND reset_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF NOT home_lies_v1(v_home) THEN
        DELETE FROM homes WHERE id = p_home; -- It went with its machine, or its zone.
    ELSIF v_home.session_id IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'in_use', 'session', v_home.session_id);
    ELSE
        UPDATE homes SET reset_at = now(), generation = generation + 1 WHERE id = p_home;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id) VALUES (v_caller.id, 'reset_home', p_home::text, 'ok',
        jsonb_build_object('workspace', v_home.workspace_id, 'agent', v_home.node_name, 'of', v_home.user_id), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- Removes homes whose user or workspace was deleted, except those that a session still has; at most so many at once.
CREATE FUNCTION delete_gone_homes_v1(p_by uuid, p_limit integer, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_deleted bigint;
    v_kept bigint;
BEGIN
    WITH gone AS (
        SELECT h.id, h.user_id, h.workspace_id, h.node_name, home_lies_v1(h) AS lies
        FROM homes h JOIN users u ON u.id = h.user_id JOIN workspaces w ON w.id = h.workspace_id
        WHERE (u.deleted_at IS NOT NULL OR w.deleted_at IS NOT NULL) AND h.reset_at IS NULL
          AND (h.session_id IS NULL OR NOT home_lies_v1(h))
        ORDER BY h.id LIMIT p_limit FOR UPDATE OF h),
    told AS (UPDATE homes h SET reset_at = now(), generation = h.generation + 1 FROM gone g WHERE h.id = g.id AND g.lies),
    forgotten AS (DELETE FROM homes h USING gone g WHERE h.id = g.id AND NOT g.lies),
    written AS (
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        SELECT p_by, 'reset_home', g.id::text, 'ok', jsonb_build_object('workspace', g.workspace_id, 'agent', g.node_name, 'of', g.user_id),
            p_address, p_request FROM gone g)
    SELECT count(*) INTO v_deleted FROM gone;
    SELECT count(*) INTO v_kept FROM homes h JOIN users u ON u.id = h.user_id JOIN workspaces w ON w.id = h.workspace_id
        WHERE (u.deleted_at IS NOT NULL OR w.deleted_at IS NOT NULL) AND h.reset_at IS NULL AND h.session_id IS NOT NULL;
    RETURN jsonb_build_object('deleted', v_deleted, 'in_use', v_kept);
END
$$;

-- An administrator takes a home on storage from an agent that has not released it. What that agent's session wrote until then is the home;
-- should the session still run, it ends, and until then writes where nobody else does. Without p_force only told what stands in the way.
CREATE FUNCTION release_home_v1(p_token bytea, p_home uuid, p_force boolean, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_home homes;
    v_session uuid;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF NOT 'sessions:modify' = ANY (v_caller.permissions) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    -- Also one that is to be removed: whoever holds it is in the way of that, too.
    SELECT * INTO v_home FROM homes WHERE id = p_home AND (v_caller.zones IS NULL OR zone_id = ANY (v_caller.zones));
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    PERFORM 1 FROM users WHERE id = v_home.user_id FOR NO KEY UPDATE;
    SELECT session_id INTO v_session FROM homes WHERE id = p_home;
    IF v_home.storage IS NULL THEN
        RETURN jsonb_build_object('outcome', 'on_agent', 'agent', v_home.node_name);
    ELSIF v_session IS NULL THEN
        RETURN jsonb_build_object('outcome', 'free');
    ELSIF NOT p_force THEN
        RETURN jsonb_build_object('outcome', 'held', 'agent', v_home.node_name, 'answers', home_state_v1(v_home) <> 'held');
    END IF;
    PERFORM order_end_v1(v_session, 'an administrator took its home from it');
    UPDATE homes h SET session_id = NULL, forced_epoch = d.control_epoch, forced_generation = h.generation
        FROM deployment d WHERE h.id = p_home AND h.session_id = v_session RETURNING h.* INTO v_home;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'free'); -- Its agent released it just now.
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id) VALUES (v_caller.id, 'release_home', p_home::text, 'ok',
        jsonb_build_object('from', v_home.node_name, 'session', v_session, 'of', v_home.user_id, 'generation', v_home.generation),
        p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- With a machine go the homes that it was still to remove.
CREATE FUNCTION homes_of_removed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM homes WHERE node_id = NEW.id AND reset_at IS NOT NULL AND storage IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER homes_of_removed AFTER UPDATE OF removed_at ON nodes FOR EACH ROW
    WHEN (OLD.removed_at IS NULL AND NEW.removed_at IS NOT NULL) EXECUTE FUNCTION homes_of_removed_v1();
