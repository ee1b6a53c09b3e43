-- Nodes page by page, and what a page about zones wants to know of them summed up: a deployment of ten thousand agents is not answered whole.

CREATE INDEX nodes_listed ON nodes (zone_id, role, name) WHERE removed_at IS NULL;

-- Nodes by zone, role and name; those without a zone first. p_zones: those that a key is bound to; p_zone and p_role: of these alone;
-- p_node: the one with this name or id; p_after: the last of the page before, which may be removed by now.
CREATE FUNCTION list_nodes_v1(p_zones uuid[], p_zone uuid, p_role text, p_node text, p_after uuid, p_limit integer)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH last AS (
        SELECT coalesce(z.position, -1) AS place, n.role, n.name FROM nodes n LEFT JOIN zones z ON z.id = n.zone_id WHERE n.id = p_after),
    page AS (
        (SELECT n, -1 AS place, n.role, n.name FROM nodes n
            WHERE n.zone_id IS NULL AND p_zones IS NULL AND p_zone IS NULL AND n.removed_at IS NULL
              AND (p_role IS NULL OR n.role = p_role) AND (p_node IS NULL OR n.name = p_node OR n.id::text = p_node)
              AND (p_after IS NULL OR EXISTS (SELECT 1 FROM last l WHERE l.place = -1 AND (n.role, n.name) > (l.role, l.name)))
            ORDER BY n.role, n.name LIMIT p_limit)
        UNION ALL
        -- Zone after zone, and no further than the page reaches.
        (SELECT here.n, z.position AS place, here.role, here.name
            FROM zones z CROSS JOIN LATERAL (
                SELECT n, n.role, n.name FROM nodes n
                WHERE n.zone_id = z.id AND n.removed_at IS NULL
                  AND (p_role IS NULL OR n.role = p_role) AND (p_node IS NULL OR n.name = p_node OR n.id::text = p_node)
                  AND (p_after IS NULL OR EXISTS (SELECT 1 FROM last l
                    WHERE z.position > l.place OR (n.role, n.name) > (l.role, l.name)))
                ORDER BY n.role, n.name LIMIT p_limit) here
            WHERE (p_zones IS NULL OR z.id = ANY (p_zones)) AND (p_zone IS NULL OR z.id = p_zone)
              AND (p_after IS NULL OR z.position >= (SELECT l.place FROM last l))
            ORDER BY z.position, here.role, here.name LIMIT p_limit)
        ORDER BY place, role, name LIMIT p_limit)
    SELECT coalesce(jsonb_agg(node_view_v1(p.n) ORDER BY p.place, p.role, p.name), '[]') FROM page p
$$;

-- How each zone stands: what its nodes can do together, and the first few of those that an administrator should look at.
CREATE FUNCTION zone_health_v1(p_zones uuid[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH here AS (
        SELECT n.zone_id, n.name, n.role, n.sessions_used, n.streams, n.cpu_used, n.cpu_capacity, n.memory_used, n.memory_capacity,
            n.problems <> '[]' AS troubled, n.last_seen_at IS NOT NULL AND NOT node_is_reachable_v1(n.last_seen_at) AS unreachable,
            NOT n.draining AND node_is_reachable_v1(n.last_seen_at) AS ready
        FROM nodes n WHERE n.removed_at IS NULL AND n.zone_id IS NOT NULL AND (p_zones IS NULL OR n.zone_id = ANY (p_zones))),
    summed AS (
        SELECT zone_id,
            count(*) FILTER (WHERE role = 'agent') AS agents, count(*) FILTER (WHERE role = 'agent' AND ready) AS agents_ready,
            count(*) FILTER (WHERE role = 'proxy') AS proxies, count(*) FILTER (WHERE role = 'proxy' AND ready) AS proxies_ready,
            sum(sessions_used) FILTER (WHERE role = 'agent') AS sessions, sum(streams) FILTER (WHERE role = 'agent') AS streams,
            sum(cpu_used) FILTER (WHERE role = 'agent') AS cpu_used, sum(cpu_capacity) FILTER (WHERE role = 'agent') AS cpu_total,
            sum(memory_used) FILTER (WHERE role = 'agent') AS memory_used, sum(memory_capacity) FILTER (WHERE role = 'agent') AS memory_total,
            count(*) FILTER (WHERE unreachable) AS unreachable, count(*) FILTER (WHERE troubled) AS troubled,
            (array_agg(name ORDER BY name) FILTER (WHERE unreachable))[1:3] AS unreachable_names,
            (array_agg(name ORDER BY name) FILTER (WHERE troubled))[1:3] AS troubled_names
        FROM here GROUP BY zone_id)
    SELECT coalesce(jsonb_agg(jsonb_build_object('zone', z.name,
        'agents', jsonb_build_object('ready', coalesce(s.agents_ready, 0), 'all', coalesce(s.agents, 0)),
        'proxies', jsonb_build_object('ready', coalesce(s.proxies_ready, 0), 'all', coalesce(s.proxies, 0)),
        'sessions', coalesce(s.sessions, 0), 'streams', coalesce(s.streams, 0),
        'cpu_used', coalesce(s.cpu_used, 0) / 1000.0, 'cpu_total', coalesce(s.cpu_total, 0) / 1000.0,
        'memory_mb_used', coalesce(s.memory_used, 0), 'memory_mb_total', coalesce(s.memory_total, 0),
        'unreachable', jsonb_build_object('count', coalesce(s.unreachable, 0), 'first', coalesce(to_jsonb(s.unreachable_names), '[]')),
        'troubled', jsonb_build_object('count', coalesce(s.troubled, 0), 'first', coalesce(to_jsonb(s.troubled_names), '[]')))
        ORDER BY z.position), '[]')
    FROM zones z LEFT JOIN summed s ON s.zone_id = z.id WHERE p_zones IS NULL OR z.id = ANY (p_zones)
$$;
