-- A zone whose browsers come to its agents directly is measured at one of them: there may be nothing else at its proxies' address. Which one
-- matters little, as long as it stays the same while it is there.
CREATE OR REPLACE FUNCTION zone_view_v1(z zones) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object('id', z.id, 'name', z.name, 'version', z.version, 'settings', zone_settings_v1(z),
        'alternates', to_jsonb(z.alternates), 'labels', z.labels,
        'applied_revision', z.applied_revision, 'applied_at', z.applied_at,
        'drifted', z.applied_version IS NOT NULL AND z.applied_version <> z.version,
        'default', NOT EXISTS (SELECT 1 FROM zones x WHERE x.position < z.position),
        'nodes_ready', (SELECT count(*) FROM nodes n WHERE n.zone_id = z.id AND n.removed_at IS NULL
            AND NOT n.draining AND node_is_reachable_v1(n.last_seen_at)),
        'direct', CASE WHEN z.settings @> '{"proxy_connections": false}' THEN (
            SELECT n.report->>'direct_address' FROM nodes n
            WHERE n.zone_id = z.id AND n.role = 'agent' AND n.removed_at IS NULL AND node_is_reachable_v1(n.last_seen_at)
              AND n.report->>'direct_address' <> '' ORDER BY n.id LIMIT 1) END);
END
$$;
