-- A node is removed by draining it, a Web App node by stopping it; one that does not answer always.

-- Removes a node. One that works is kept: `in_use`; with p_drain it is drained, and an agent's sessions are told to end, so that it can be
-- removed soon. One that does not answer goes at once, and what ran on it is lost. Should it come to life again, it is told that it was removed,
-- and touches nothing any more.
CREATE FUNCTION remove_node_v2(p_node uuid, p_drain boolean, p_by uuid, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_node nodes;
    v_session record;
    v_sessions bigint;
    v_streams bigint;
    v_desired bigint;
BEGIN
    -- Lock order: users, nodes, sessions.
    PERFORM 1 FROM users WHERE id IN (SELECT user_id FROM sessions WHERE node_id = p_node AND reserved)
        ORDER BY id FOR NO KEY UPDATE;
    SELECT * INTO v_node FROM nodes WHERE id = p_node AND removed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    -- A Web App node takes no orders: as long as it answers, it serves.
    IF v_node.role = 'web' AND node_is_reachable_v1(v_node.last_seen_at) THEN
        RETURN jsonb_build_object('outcome', 'answers', 'name', v_node.name);
    END IF;
    SELECT count(*) INTO v_sessions FROM sessions WHERE node_id = p_node AND state NOT IN ('ended', 'failed', 'lost');
    v_streams := CASE WHEN v_node.role = 'proxy' THEN v_node.streams ELSE 0 END;
    IF node_is_reachable_v1(v_node.last_seen_at) AND v_sessions + v_streams > 0 THEN
        IF NOT p_drain THEN
            RETURN jsonb_build_object('outcome', 'in_use', 'sessions', v_sessions, 'streams', v_streams);
        END IF;
        IF NOT v_node.draining THEN
            UPDATE nodes SET draining = true WHERE id = p_node;
            INSERT INTO audit (user_id, node_id, action, target, outcome, address, request_id)
                VALUES (p_by, p_node, 'drain', v_node.name, 'ok', p_address, p_request);
        END IF;
        FOR v_session IN SELECT id FROM sessions WHERE node_id = p_node AND state NOT IN ('ending', 'ended', 'failed', 'lost') ORDER BY id LOOP
            PERFORM order_end_v1(v_session.id, 'its machine ' || v_node.name || ' is being removed');
        END LOOP;
        RETURN jsonb_build_object('outcome', 'draining', 'sessions', v_sessions, 'streams', v_streams);
    END IF;
    FOR v_session IN SELECT id FROM sessions WHERE node_id = p_node
        AND state NOT IN ('ended', 'failed', 'lost') ORDER BY id FOR NO KEY UPDATE LOOP
        PERFORM release_v1(v_session.id);
        UPDATE nodes SET desired_version = desired_version + 1 WHERE id = p_node RETURNING desired_version INTO v_desired;
        UPDATE sessions SET state = 'lost', desired = 'end', generation = generation + 1, desired_version = v_desired,
            reason = 'its machine is gone: an administrator removed it', ended_at = now() WHERE id = v_session.id;
        PERFORM announce_v1(p_node, v_session.id);
    END LOOP;
    UPDATE nodes SET removed_at = now() WHERE id = p_node;
    INSERT INTO audit (user_id, node_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, p_node, 'remove_node', v_node.name, 'ok', jsonb_build_object('sessions_lost', v_sessions), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;
