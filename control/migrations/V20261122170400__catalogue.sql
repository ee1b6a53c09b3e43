-- The catalogue and the zones, as the API shows them.

CREATE FUNCTION workspace_view_v1(w workspaces) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('id', w.id, 'name', w.name, 'description', w.description, 'icon', w.icon, 'image', w.image,
        'cpu', w.cpu_milli / 1000.0, 'memory_mb', w.memory_mb, 'gpu', w.gpu, 'network', w.network)
$$;

-- The catalogue for whoever holds the token; null when it is nobody's.
CREATE FUNCTION list_workspaces_v1(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN EXISTS (SELECT 1 FROM caller_v1(p_token)) THEN
        (SELECT coalesce(jsonb_agg(workspace_view_v1(w) ORDER BY w.created_at, w.name), '[]') FROM workspaces w)
        ELSE 'null'::jsonb END
$$;

CREATE FUNCTION zone_view_v1(z zones) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', z.id, 'name', z.name, 'version', z.version, 'settings', zone_settings_v1(z),
        'alternates', to_jsonb(z.alternates),
        'default', NOT EXISTS (SELECT 1 FROM zones x WHERE x.position < z.position),
        'nodes_ready', (SELECT count(*) FROM nodes n WHERE n.zone_id = z.id AND n.removed_at IS NULL
            AND NOT n.draining AND node_is_reachable_v1(n.last_seen_at)))
$$;

-- The zones, and the role of whoever holds the token; null when it is nobody's.
CREATE FUNCTION list_zones_v1(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('role', (SELECT role FROM caller_v1(p_token)),
        'items', (SELECT coalesce(jsonb_agg(zone_view_v1(z) ORDER BY z.position), '[]') FROM zones z))
$$;
