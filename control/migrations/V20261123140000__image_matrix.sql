-- The matrix of zone, image and agent, bounded by what it shows: a row has a cell for each of its zone's agents, and a page of a hundred rows
-- in zones of a hundred agents took the database's one statement limit. A page ends with the row that reaches p_cells, and says whether more
-- comes after it. Cells are looked up by their key one by one: the planner would read all images of all agents for each row.
CREATE FUNCTION image_matrix_v2(p_zone uuid, p_zones uuid[], p_position integer, p_reference text, p_limit integer, p_cells bigint)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_row record;
    v_agents jsonb;
    v_rows jsonb[] := '{}';
    v_cells bigint := 0;
BEGIN
    FOR v_row IN
        SELECT z.id, z.name, z.position, r.reference, bool_or(r.workspace IS NULL) AS wanted,
            coalesce(jsonb_agg(r.workspace ORDER BY r.workspace) FILTER (WHERE r.workspace IS NOT NULL), '[]') AS workspaces
        FROM zones z CROSS JOIN LATERAL (
            SELECT i.reference, NULL::text AS workspace FROM zone_images i WHERE i.zone_id = z.id
            UNION ALL
            SELECT w.image COLLATE "C", w.name FROM workspaces w
                WHERE w.deleted_at IS NULL AND z.id = ANY (coalesce(w.zones, ARRAY[z.id]))) r
        WHERE (p_zone IS NULL OR z.id = p_zone) AND (p_zones IS NULL OR z.id = ANY (p_zones))
          AND (p_position IS NULL OR z.position > p_position OR z.position = p_position AND r.reference > p_reference COLLATE "C")
        GROUP BY z.id, r.reference
        ORDER BY z.position, r.reference LIMIT p_limit + 1
    LOOP
        IF cardinality(v_rows) >= p_limit OR v_cells >= p_cells THEN
            RETURN jsonb_build_object('rows', to_jsonb(v_rows), 'more', true);
        END IF;
        SELECT coalesce(jsonb_agg(coalesce(s.standing, '{}') || jsonb_build_object(
                'agent', n.name, 'agent_id', n.id, 'reachable', node_is_reachable_v1(n.last_seen_at),
                'state', coalesce(s.standing->>'state', CASE WHEN i.image_id IS NULL THEN 'absent' ELSE 'present' END),
                'image_id', coalesce(s.standing->>'image_id', i.image_id), 'since', s.since,
                'disk_free_mb', n.report->'disk'->'free_mb', 'disk_total_mb', n.report->'disk'->'total_mb') ORDER BY n.name), '[]')
            INTO v_agents
            FROM nodes n
            LEFT JOIN LATERAL (SELECT s.standing, s.since FROM image_standings s
                WHERE s.node_id = n.id AND s.reference = v_row.reference LIMIT 1) s ON true
            LEFT JOIN LATERAL (SELECT i.image_id FROM node_images i
                WHERE i.node_id = n.id AND i.reference = v_row.reference LIMIT 1) i ON true
            WHERE n.zone_id = v_row.id AND n.role = 'agent' AND n.removed_at IS NULL;
        v_rows := v_rows || jsonb_build_object('zone', v_row.name, 'position', v_row.position, 'reference', v_row.reference,
            'wanted', v_row.wanted, 'workspaces', v_row.workspaces, 'agents', v_agents);
        v_cells := v_cells + jsonb_array_length(v_agents);
    END LOOP;
    RETURN jsonb_build_object('rows', to_jsonb(v_rows), 'more', false);
END
$$;
