-- An administrator looks on at somebody's session: asked by the one, allowed by the other, and over when either of them says so.
--
-- ```text
--  asked ──allowed by the session's user──> allowed ──stopped, left, its time over, the session over──> ended
--    └──> declined, expired (nobody answered), withdrawn
-- ```
--
-- Locks: the session, then its rows here.

-- The release before grants what it is told to grant, and its administrators may everything.
CREATE OR REPLACE FUNCTION all_permissions_v1() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT '{users:view,users:modify,users:create,users:delete,
        groups:view,groups:modify,groups:create,groups:delete,
        zones:view,zones:modify,zones:create,zones:delete,
        nodes:view,nodes:modify,nodes:create,nodes:delete,
        workspaces:view,workspaces:modify,workspaces:create,workspaces:delete,
        sessions:view,sessions:modify,sessions:delete,sessions:watch,
        images:view,images:modify,images:create,images:delete,
        audit:view,settings:view,settings:modify}'::text[]
$$;

CREATE TABLE session_watches (
    id           uuid PRIMARY KEY,
    session_id   uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    watcher_id   uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    reason       text NOT NULL CHECK (reason <> '' AND length(reason) <= 128),
    state        text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'allowed', 'declined', 'expired', 'withdrawn', 'ended')),
    asked_at     timestamptz NOT NULL DEFAULT now(),
    answer_by    timestamptz NOT NULL DEFAULT now() + interval '1 minute',
    -- When a page of the session's user showed the question.
    seen_at      timestamptz,
    answered_at  timestamptz,
    -- Until when it is allowed.
    until        timestamptz,
    -- The first stream, and the latest.
    began_at     timestamptz,
    granted_at   timestamptz,
    ended_at     timestamptz,
    -- Why it is over, in words.
    because      text,
    CHECK ((ended_at IS NULL) = (state IN ('asked', 'allowed'))),
    CHECK (state <> 'allowed' OR until IS NOT NULL)
);
CREATE INDEX session_watches_of_session ON session_watches (session_id, id);
CREATE INDEX session_watches_open ON session_watches (id) WHERE ended_at IS NULL;
-- What agents are told, in the answer to each heartbeat.
CREATE INDEX session_watches_over ON session_watches (until) WHERE state = 'ended';

CREATE FUNCTION watch_view_v1(w session_watches) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', w.id, 'watcher', jsonb_build_object('id', u.id, 'name', u.name), 'reason', w.reason,
        -- Whoever looks sees it in time, whether or not it was written down yet.
        'state', CASE WHEN w.state = 'asked' AND w.answer_by <= now() THEN 'expired' ELSE w.state END,
        'seen', w.seen_at IS NOT NULL, 'asked_at', w.asked_at, 'answer_by', w.answer_by, 'until', w.until,
        'began_at', w.began_at, 'ended_at', w.ended_at, 'because', w.because)
    FROM users u WHERE u.id = w.watcher_id
$$;

-- What is asked and allowed now, and for a minute what became of it.
CREATE FUNCTION watches_view_v1(p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(watch_view_v1(w) ORDER BY w.id), '[]') FROM session_watches w
    WHERE w.session_id = p_session AND (w.ended_at IS NULL OR w.ended_at > now() - interval '1 minute')
$$;

-- Of a node's sessions, whose looking on is over before its time. It is said until nothing that was granted is good any more.
CREATE FUNCTION watches_over_v1(p_node uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(w.id ORDER BY w.id), '[]') FROM session_watches w JOIN sessions s ON s.id = w.session_id
    WHERE w.state = 'ended' AND w.until > now() - interval '2 minutes' AND s.node_id = p_node
$$;

-- It is over. Whoever watches the session hears of it, its agent too, which cuts the stream. Whether it was open until now.
CREATE FUNCTION close_watch_v1(p_watch uuid, p_by uuid, p_because text, p_address text, p_request text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_watch session_watches;
    v_node uuid;
BEGIN
    UPDATE session_watches SET ended_at = now(), because = p_because,
        state = CASE WHEN state = 'allowed' THEN 'ended'
            WHEN p_by = watcher_id THEN 'withdrawn'
            WHEN p_by IS NULL THEN 'expired' ELSE 'declined' END
        WHERE id = p_watch AND ended_at IS NULL RETURNING * INTO v_watch;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id) VALUES (p_by, 'watch_' || v_watch.state,
        v_watch.session_id::text, 'ok', jsonb_build_object('watch', v_watch.id, 'watcher',
            (SELECT u.name FROM users u WHERE u.id = v_watch.watcher_id), 'because', p_because), p_address, p_request);
    SELECT s.node_id INTO v_node FROM sessions s WHERE s.id = v_watch.session_id;
    PERFORM announce_v1(v_node, v_watch.session_id);
    RETURN true;
END
$$;

-- The question. Its answer is given by the session's user and nobody else.
CREATE FUNCTION ask_to_watch_v1(p_token bytea, p_watch uuid, p_session uuid, p_reason text, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_session sessions;
    v_watch session_watches;
    v_mine boolean;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session;
    v_mine := v_session.user_id = v_caller.id AND v_caller.own;
    IF NOT FOUND OR NOT v_mine AND (NOT v_caller.permissions && '{sessions:view,sessions:watch}'
        OR v_session.zone_id <> ALL (v_caller.zones)) THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_session.user_id = v_caller.id THEN
        RETURN jsonb_build_object('outcome', 'own');
    END IF;
    IF NOT 'sessions:watch' = ANY (v_caller.permissions) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    -- Questions about one session come one after the other, so counting them is safe.
    SELECT * INTO v_session FROM sessions WHERE id = p_session FOR NO KEY UPDATE;
    IF v_session.state <> 'running' THEN
        RETURN jsonb_build_object('outcome', 'not_live', 'state', v_session.state, 'reason', v_session.reason);
    END IF;
    IF NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = v_session.node_id AND n.report @> '{"serves_watches": true}') THEN
        RETURN jsonb_build_object('outcome', 'not_served');
    END IF;
    PERFORM tend_watches_v1(p_session);
    SELECT * INTO v_watch FROM session_watches w
        WHERE w.session_id = p_session AND w.watcher_id = v_caller.id AND w.ended_at IS NULL;
    IF NOT FOUND THEN
        IF EXISTS (SELECT 1 FROM session_watches w WHERE w.session_id = p_session AND w.watcher_id = v_caller.id
            AND w.state = 'declined' AND w.ended_at > now() - interval '1 minute') THEN
            RETURN jsonb_build_object('outcome', 'declined');
        END IF;
        IF (SELECT count(*) FROM session_watches w WHERE w.session_id = p_session AND w.ended_at IS NULL) >= 2 THEN
            RETURN jsonb_build_object('outcome', 'full');
        END IF;
        INSERT INTO session_watches (id, session_id, watcher_id, reason) VALUES (p_watch, p_session, v_caller.id, p_reason)
            RETURNING * INTO v_watch;
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id) VALUES (v_caller.id, 'watch_asked',
            p_session::text, 'ok', jsonb_build_object('watch', p_watch, 'reason', p_reason), p_address, p_request);
        PERFORM announce_v1(v_session.node_id, p_session);
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'watch', watch_view_v1(v_watch));
END
$$;

-- What the person at the desktop says: `seen`, their page shows the question; `allow`; `decline`. A program with a key is not that person.
CREATE FUNCTION answer_watch_v1(
    p_token bytea, p_session uuid, p_watch uuid, p_answer text, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_session sessions;
    v_watch session_watches;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session AND user_id = v_caller.id AND v_caller.own;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_caller.key_id IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'no_person');
    END IF;
    SELECT * INTO v_watch FROM session_watches WHERE id = p_watch AND session_id = p_session FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_watch.state = 'asked' AND (v_watch.answer_by <= now() OR NOT 'sessions:watch' = ANY (permissions_v1(v_watch.watcher_id))) THEN
        PERFORM tend_watches_v1(p_session);
        RETURN jsonb_build_object('outcome', 'over');
    END IF;
    IF p_answer = 'seen' THEN
        IF v_watch.state = 'asked' AND v_watch.seen_at IS NULL THEN
            UPDATE session_watches SET seen_at = now() WHERE id = p_watch;
            PERFORM announce_v1(v_session.node_id, p_session);
        END IF;
    ELSIF v_watch.state <> 'asked' THEN
        -- Said twice, it is said once.
        IF NOT (p_answer = 'allow' AND v_watch.state = 'allowed' OR p_answer = 'decline' AND v_watch.state = 'declined') THEN
            RETURN jsonb_build_object('outcome', 'over');
        END IF;
    ELSIF p_answer = 'allow' THEN
        IF v_session.state NOT IN ('running', 'unreachable') THEN
            RETURN jsonb_build_object('outcome', 'over');
        END IF;
        UPDATE session_watches SET state = 'allowed', seen_at = coalesce(seen_at, now()), answered_at = now(),
            until = now() + interval '1 hour' WHERE id = p_watch;
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id) VALUES (v_caller.id, 'watch_allowed',
            p_session::text, 'ok', jsonb_build_object('watch', p_watch, 'watcher',
                (SELECT u.name FROM users u WHERE u.id = v_watch.watcher_id), 'reason', v_watch.reason), p_address, p_request);
        PERFORM announce_v1(v_session.node_id, p_session);
    ELSE
        PERFORM close_watch_v1(p_watch, v_caller.id, 'the person at the desktop declined', p_address, p_request);
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'session', session_view_v1(v_session));
END
$$;

-- Either side ends it: the session's user stops it, whoever looks on leaves or takes the question back. Asked again, nothing is left to do.
CREATE FUNCTION end_watch_v1(p_token bytea, p_session uuid, p_watch uuid, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_session sessions;
    v_watch session_watches;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session;
    SELECT * INTO v_watch FROM session_watches WHERE id = p_watch AND session_id = p_session
        AND (watcher_id = v_caller.id AND (v_caller.own OR 'sessions:watch' = ANY (v_caller.permissions))
            OR v_session.user_id = v_caller.id AND v_caller.own);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    PERFORM close_watch_v1(p_watch, v_caller.id, CASE
        WHEN v_watch.watcher_id = v_caller.id AND v_watch.state = 'asked' THEN 'the question was taken back'
        WHEN v_watch.watcher_id = v_caller.id THEN 'whoever looked on left'
        WHEN v_watch.state = 'asked' THEN 'the person at the desktop declined'
        ELSE 'the person at the desktop stopped it' END, p_address, p_request);
    SELECT * INTO v_watch FROM session_watches WHERE id = p_watch;
    RETURN jsonb_build_object('outcome', 'ok', 'watch', watch_view_v1(v_watch));
END
$$;

-- What a ticket to look on must say, for whom it was allowed.
CREATE FUNCTION connect_watch_v1(p_token bytea, p_session uuid, p_watch uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN w.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        WHEN w.state = 'asked' AND w.answer_by > now() THEN jsonb_build_object('outcome', 'not_answered')
        WHEN w.state <> 'allowed' OR w.until <= now() OR NOT 'sessions:watch' = ANY (c.permissions)
            OR s.state NOT IN ('running', 'unreachable') THEN jsonb_build_object('outcome', 'over', 'because', w.because)
        ELSE jsonb_build_object('outcome', 'ok', 'user_id', c.id, 'zone_id', z.id, 'agent_id', s.node_id,
            'epoch', s.epoch, 'generation', s.generation, 'settings', z.settings,
            'until_s', floor(extract(epoch FROM w.until))::bigint,
            'agent', n.name, 'direct_address', n.report->'direct_address') END
    FROM (SELECT 1) one
    LEFT JOIN caller_v2(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND (c.zones IS NULL OR s.zone_id = ANY (c.zones))
    LEFT JOIN session_watches w ON w.id = p_watch AND w.session_id = s.id AND w.watcher_id = c.id
    LEFT JOIN zones z ON z.id = s.zone_id
    LEFT JOIN nodes n ON n.id = s.node_id
$$;

-- As authorize_v1, for a ticket to look on: what was allowed must hold in this moment. Whoever looks on is no use of the session.
CREATE FUNCTION authorize_watch_v1(
    p_proxy uuid, p_zone uuid, p_ticket uuid, p_nonce text, p_session uuid, p_watcher uuid, p_agent uuid,
    p_epoch bigint, p_generation bigint, p_grant uuid, p_watch uuid, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_use ticket_uses;
    v_watch session_watches;
BEGIN
    PERFORM 1 FROM nodes n WHERE n.id = p_proxy AND n.zone_id = p_zone AND n.removed_at IS NULL
        AND (n.role = 'proxy' OR n.role = 'agent' AND n.id = p_agent
            AND (SELECT z.settings->'proxy_connections' = 'false' FROM zones z WHERE z.id = p_zone));
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unknown_proxy');
    END IF;
    SELECT w.* INTO v_watch FROM session_watches w JOIN sessions s ON s.id = w.session_id JOIN users u ON u.id = w.watcher_id
        WHERE w.id = p_watch AND s.id = p_session AND u.id = p_watcher AND s.node_id = p_agent AND s.zone_id = p_zone
          AND s.epoch = p_epoch AND s.generation = p_generation AND s.state IN ('running', 'unreachable')
          AND w.state = 'allowed' AND w.until > now()
          AND u.disabled_at IS NULL AND u.locked_at IS NULL AND 'sessions:watch' = ANY (permissions_v1(u.id))
        FOR UPDATE OF w;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_live');
    END IF;
    INSERT INTO ticket_uses (ticket_id, proxy_id, nonce, grant_id) VALUES (p_ticket, p_proxy, p_nonce, p_grant)
        ON CONFLICT (ticket_id) DO NOTHING RETURNING * INTO v_use;
    IF NOT FOUND THEN
        SELECT * INTO v_use FROM ticket_uses WHERE ticket_id = p_ticket;
        IF v_use.proxy_id <> p_proxy OR v_use.nonce <> p_nonce THEN
            INSERT INTO audit (user_id, node_id, action, target, outcome, detail, address, request_id) VALUES (p_watcher, p_proxy,
                'watch_connect', p_session::text, 'ticket_reused', jsonb_build_object('watch', p_watch), p_address, p_request);
            RETURN jsonb_build_object('outcome', 'reused');
        END IF;
    ELSE
        INSERT INTO audit (user_id, node_id, action, target, outcome, detail, address, request_id) VALUES (p_watcher, p_proxy,
            CASE WHEN v_watch.began_at IS NULL THEN 'watch_began' ELSE 'watch_connect' END, p_session::text, 'ok',
            jsonb_build_object('watch', p_watch), p_address, p_request);
        UPDATE session_watches SET began_at = coalesce(began_at, now()), granted_at = now() WHERE id = p_watch;
        IF v_watch.began_at IS NULL THEN
            PERFORM announce_v1(p_agent, p_session);
        END IF;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'grant_id', v_use.grant_id,
        'granted_at_s', floor(extract(epoch FROM v_use.granted_at))::bigint);
END
$$;

-- Closes what is over by itself, of one session or of all. How many those were. What another holds is passed over and looked at the next
-- time: until then it is refused all the same, because every question asks for the moment.
CREATE FUNCTION tend_watches_v1(p_session uuid) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v record;
    v_closed integer := 0;
BEGIN
    FOR v IN
        SELECT w.id, CASE
            WHEN s.state NOT IN ('starting', 'running', 'unreachable') THEN 'the session ended'
            WHEN u.disabled_at IS NOT NULL OR u.locked_at IS NOT NULL OR NOT 'sessions:watch' = ANY (permissions_v1(u.id))
                THEN 'whoever asked may not look on any more'
            WHEN w.state = 'asked' AND w.answer_by <= now() THEN
                CASE WHEN w.seen_at IS NULL THEN 'nobody was at the desktop' ELSE 'the person at the desktop did not answer' END
            WHEN w.state = 'allowed' AND w.until <= now() THEN 'its hour was over'
            WHEN w.state = 'allowed' AND w.began_at IS NULL AND w.answered_at < now() - interval '2 minutes'
                THEN 'whoever asked did not come' END AS because
        FROM session_watches w JOIN sessions s ON s.id = w.session_id JOIN users u ON u.id = w.watcher_id
        WHERE w.ended_at IS NULL AND (p_session IS NULL OR w.session_id = p_session)
        ORDER BY w.id FOR UPDATE OF w SKIP LOCKED
    LOOP
        IF v.because IS NOT NULL AND close_watch_v1(v.id, NULL, v.because, '', '') THEN
            v_closed := v_closed + 1;
        END IF;
    END LOOP;
    RETURN v_closed;
END
$$;

-- What an agent says of those who look on at its sessions, and of whom it cut off itself. A stream that is on its way to it is in no list
-- yet, so one that was granted in the last moments is not missed.
CREATE FUNCTION note_watches_v1(p_node uuid, p_agent jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT w.id, s.user_id, e.because
        FROM session_watches w JOIN sessions s ON s.id = w.session_id
        LEFT JOIN LATERAL (SELECT x.because FROM jsonb_to_recordset(coalesce(p_agent->'watches_ended', '[]')) AS x(id uuid, because text)
            WHERE x.id = w.id LIMIT 1) e ON true
        WHERE w.ended_at IS NULL AND w.state = 'allowed' AND w.began_at IS NOT NULL AND s.node_id = p_node
          AND (e.because IS NOT NULL OR NOT p_agent->'watches' ? w.id::text AND w.granted_at < now() - interval '15 seconds')
        ORDER BY w.id FOR UPDATE OF w SKIP LOCKED
    LOOP
        PERFORM close_watch_v1(v.id, CASE v.because WHEN 'stopped' THEN v.user_id END, CASE
            WHEN v.because = 'stopped' THEN 'the person at the desktop stopped it'
            WHEN v.because IS NOT NULL THEN 'nobody was at the desktop any more'
            ELSE 'whoever looked on left' END, '', '');
    END LOOP;
END
$$;
