-- Persistent homes: a volume for a user and a workspace, which stays on the agent that made it.
--
-- Locks are taken in one order everywhere: groups, users, nodes, sessions, homes. Launches and resets hold the lock on the user.

CREATE TABLE homes (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users,
    workspace_id  uuid NOT NULL REFERENCES workspaces,
    -- Where it lies, and what that is called, also when the node or the zone is not there any more.
    node_id       uuid NOT NULL,
    zone_id       uuid NOT NULL,
    node_name     text NOT NULL,
    size_mb       bigint NOT NULL,
    -- The one session that may write to it, until nothing of that session is left at its agent.
    session_id    uuid UNIQUE,
    -- Rises with each writer.
    generation    bigint NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    used_at       timestamptz NOT NULL DEFAULT now(),
    -- Its user does not want it any more; its agent is told to remove it, and the row goes when that has happened.
    reset_at      timestamptz
);
CREATE UNIQUE INDEX homes_of_user ON homes (user_id, workspace_id) WHERE reset_at IS NULL;
CREATE INDEX homes_to_forget ON homes (node_id) WHERE reset_at IS NOT NULL;

ALTER TABLE sessions ADD COLUMN home_id uuid;

-- A session's home is free when nothing of the session is left.
CREATE FUNCTION home_released_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE homes SET session_id = NULL, used_at = now() WHERE id = NEW.home_id AND session_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER home_released AFTER UPDATE OF gone_at ON sessions FOR EACH ROW
    WHEN (OLD.gone_at IS NULL AND NEW.gone_at IS NOT NULL AND NEW.home_id IS NOT NULL)
    EXECUTE FUNCTION home_released_v1();

-- With an account go its homes.
CREATE FUNCTION homes_of_deleted_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE homes SET reset_at = now() WHERE user_id = NEW.id AND reset_at IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER homes_of_deleted AFTER UPDATE OF deleted_at ON users FOR EACH ROW
    WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION homes_of_deleted_v1();

-- Why a launch cannot have its home; null when it can. p_zone is the zone that was asked for, if one was.
CREATE FUNCTION home_refusal_v1(h homes, p_zone text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_node nodes;
    v_zone text;
    v_state text;
    v_problem text;
    v_words text;
BEGIN
    SELECT * INTO v_node FROM nodes WHERE id = h.node_id AND removed_at IS NULL;
    SELECT name INTO v_zone FROM zones WHERE id = h.zone_id;
    SELECT state INTO v_state FROM sessions WHERE id = h.session_id;
    IF v_node.id IS NULL OR v_zone IS NULL THEN
        v_problem := 'lost';
        v_words := 'your home of it was on ' || h.node_name || ', which was removed';
    ELSIF v_state IN ('ending', 'ended', 'failed', 'lost') THEN
        v_problem := 'put_away';
        v_words := 'your home of it is still being put away on ' || h.node_name;
    ELSIF h.session_id IS NOT NULL THEN
        v_problem := 'in_use';
        v_words := 'your home of it is in use by another session of yours';
    ELSIF p_zone IS NOT NULL AND p_zone <> v_zone THEN
        v_problem := 'elsewhere';
        v_words := 'your home of it is in zone ' || v_zone;
    ELSIF NOT node_is_reachable_v1(v_node.last_seen_at) THEN
        v_problem := 'away';
        v_words := 'your home of it is on ' || h.node_name || ', which does not answer';
    ELSE
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object('outcome', 'home', 'problem', v_problem, 'words', v_words, 'agent', h.node_name,
        'zone', coalesce(v_zone, ''), 'session', h.session_id);
END
$$;

-- Finds an agent that keeps homes, beginning in `z`, and takes the place: p_pinned, where the home is there already. The explanation says of
-- all others that they are not it.
CREATE FUNCTION place_for_home_v1(z zones, w workspaces, p_allowed jsonb, p_pinned uuid, OUT chosen nodes, OUT explanation jsonb)
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
                row_number() OVER (ORDER BY t.turn, (c.id = p_pinned) IS NOT TRUE, c.loads_first, c.comes_and_goes, c.rank, c.id) AS place
            FROM tried_zones_v1(z, w, p_allowed) t
            CROSS JOIN LATERAL candidates_v2(t.id, t.settings->>'load_strategy', (t.settings->>'prioritize_static_agents')::boolean,
                t.labels, w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb, w.image_policy = 'wait') c
            JOIN nodes n ON n.id = c.id
            CROSS JOIN LATERAL (SELECT CASE
                WHEN p_pinned IS NOT NULL AND c.id <> p_pinned THEN 'the home is on another agent'
                WHEN NOT n.report @> '{"keeps_homes": true}' THEN 'keeps no homes'
                ELSE c.reason END AS reason) r
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
                CASE v_reason WHEN 'fits' THEN 'chosen' ELSE 'chosen; it loads the image first' END) END ORDER BY f.place)
            INTO v_first FROM jsonb_array_elements(v_first) WITH ORDINALITY f(c, place);
    END IF;
    explanation := jsonb_build_object('counts', v_counts, 'candidates', v_first,
        'zones', (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', t.name, 'verdict', coalesce(t.barrier,
                CASE WHEN t.id = chosen.zone_id THEN 'chosen' ELSE 'asked' END)) ORDER BY t.turn), '[]')
            FROM tried_zones_v1(z, w, p_allowed) t),
        'chosen', (SELECT jsonb_build_object('zone', t.name, 'agent', chosen.name) FROM zones t WHERE t.id = chosen.zone_id));
END
$$;

-- Gives a session its home, an old one or a new one: nobody else has it. The caller holds the lock on the user.
CREATE FUNCTION claim_home_v1(p_session uuid, p_old uuid, p_size bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_home homes;
BEGIN
    IF p_old IS NOT NULL THEN
        UPDATE homes SET session_id = p_session, generation = generation + 1, used_at = now()
            WHERE id = p_old AND session_id IS NULL AND reset_at IS NULL RETURNING * INTO v_home;
    ELSE
        INSERT INTO homes (id, user_id, workspace_id, node_id, zone_id, node_name, size_mb, session_id)
            SELECT gen_random_uuid(), s.user_id, s.workspace_id, s.node_id, s.zone_id, n.name, p_size, s.id
            FROM sessions s JOIN nodes n ON n.id = s.node_id WHERE s.id = p_session RETURNING * INTO v_home;
    END IF;
    IF v_home.id IS NULL THEN
        RAISE EXCEPTION 'the home % of session % was taken by another writer', p_old, p_session;
    END IF;
    RETURN jsonb_build_object('id', v_home.id, 'size_mb', v_home.size_mb);
END
$$;

-- What an agent says of the homes it was told to remove, and which there still are.
CREATE FUNCTION told_homes_v1(p_node uuid, p_agent jsonb, p_answer jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF p_agent->'homes_gone' <> '[]' THEN
        DELETE FROM homes WHERE node_id = p_node AND reset_at IS NOT NULL AND p_agent->'homes_gone' ? id::text;
    END IF;
    RETURN jsonb_set(p_answer, '{update,forget_homes}', (
        SELECT coalesce(jsonb_agg(h.id ORDER BY h.id), '[]') FROM homes h WHERE h.node_id = p_node AND h.reset_at IS NOT NULL));
END
$$;

-- A person's own homes.
CREATE FUNCTION list_homes_v1(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN NOT c.own THEN jsonb_build_object('outcome', 'forbidden')
        ELSE jsonb_build_object('outcome', 'ok', 'items', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('id', h.id, 'name', w.name, 'workspace_id', w.id, 'agent', h.node_name,
                'zone', z.name, 'size_mb', h.size_mb, 'session_id', h.session_id, 'created_at', h.created_at, 'used_at', h.used_at)
                ORDER BY h.id), '[]')
            FROM homes h JOIN workspaces w ON w.id = h.workspace_id LEFT JOIN zones z ON z.id = h.zone_id
            WHERE h.user_id = c.id AND h.reset_at IS NULL)) END
    FROM (SELECT 1) one LEFT JOIN caller_v2(p_token) c ON true
$$;

-- Its user wants a home no more: the next launch begins with an empty one. Not while a session has it.
CREATE FUNCTION reset_home_v1(p_token bytea, p_home uuid, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_home homes;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    PERFORM 1 FROM users WHERE id = v_caller.id FOR NO KEY UPDATE;
    SELECT * INTO v_home FROM homes WHERE id = p_home AND user_id = v_caller.id AND v_caller.own AND reset_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF NOT EXISTS (SELECT 1 FROM nodes WHERE id = v_home.node_id AND removed_at IS NULL) THEN
        DELETE FROM homes WHERE id = p_home; -- It went with its machine.
    ELSIF v_home.session_id IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'in_use', 'session', v_home.session_id);
    ELSE
        UPDATE homes SET reset_at = now() WHERE id = p_home;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id) VALUES (v_caller.id, 'reset_home', p_home::text, 'ok',
        jsonb_build_object('workspace', v_home.workspace_id, 'agent', v_home.node_name), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;
