-- A node that said nothing for three heartbeats and a second is silent. With the second between two looks, an agent's host that
-- vanished is known to be out of reach within ten seconds of its last word.
CREATE OR REPLACE FUNCTION node_is_reachable_v1(p_last_seen timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(p_last_seen > now() - interval '7 seconds', false)
$$;
