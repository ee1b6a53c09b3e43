-- Nodes, as they are told and tell since: the heartbeat and what answers it.

-- The heartbeat with the count of streams: what a proxy says, and for an agent the sum of what it says of its sessions. A node of the
-- release before says nothing of it, and an agent of that release nothing of the images that its zone wants.
CREATE OR REPLACE FUNCTION heartbeat_v2(
    p_node uuid, p_since bigint, p_version text, p_address text, p_agent jsonb, p_problems jsonb, p_streams bigint
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answer jsonb;
BEGIN
    v_answer := heartbeat_v1(p_node, p_since, p_version, p_address, p_agent - 'standings' - 'images_version', p_problems);
    UPDATE nodes n SET streams = c.streams
        FROM (SELECT coalesce(p_streams, (SELECT sum((s->>'streams')::bigint) FROM jsonb_array_elements(p_agent->'sessions') s), 0) AS streams) c
        WHERE n.id = p_node AND n.streams <> c.streams;
    IF p_agent ? 'images_version' AND v_answer->>'outcome' = 'ok' THEN
        v_answer := told_images_v1(p_node, p_agent, v_answer);
    END IF;
    RETURN v_answer;
END
$$;
