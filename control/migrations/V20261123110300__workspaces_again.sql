-- Workspaces since: whether a launch waits for the image, if they say so themselves.

CREATE OR REPLACE FUNCTION workspace_view_v1(w workspaces) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', w.id, 'name', w.name, 'description', w.description, 'icon', w.icon, 'image', w.image,
        'cpu', w.cpu_milli / 1000.0, 'memory_mb', w.memory_mb, 'gpu', w.gpu, 'network', w.network, 'seccomp', w.seccomp,
        'shm_mb', w.shm_mb, 'home_mb', w.home_mb, 'tmp_mb', w.tmp_mb, 'pids_limit', w.pids_limit,
        'image_policy', w.image_policy, 'required_labels', w.required_labels,
        'zones', CASE WHEN w.zones IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(z.name ORDER BY z.position), '[]') FROM zones z WHERE z.id = ANY (w.zones)) END,
        'groups', CASE WHEN w.groups IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(g.name ORDER BY lower(g.name)), '[]') FROM groups g WHERE g.id = ANY (w.groups)) END)
$$;

-- Makes an entry of the catalogue (p_version is null), or replaces it if nobody did since the caller read it. p_entry has every field, and
-- zones and groups by their names.
CREATE OR REPLACE FUNCTION save_workspace_v1(p_id uuid, p_version bigint, p_entry jsonb, p_by uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_unknown text;
    v workspaces;
BEGIN
    SELECT n INTO v_unknown FROM jsonb_array_elements_text(nullif(p_entry->'zones', 'null')) n
        WHERE NOT EXISTS (SELECT 1 FROM zones z WHERE z.name = n) LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone', 'zone', v_unknown);
    END IF;
    SELECT n INTO v_unknown FROM jsonb_array_elements_text(nullif(p_entry->'groups', 'null')) n
        WHERE NOT EXISTS (SELECT 1 FROM groups g WHERE lower(g.name) = lower(n)) LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_group', 'group', v_unknown);
    END IF;
    SELECT p_id, p_entry->>'name', p_entry->>'description', p_entry->>'icon', p_entry->>'image', (p_entry->>'cpu_milli')::bigint,
        (p_entry->>'memory_mb')::bigint, (p_entry->>'gpu')::integer, p_entry->>'network', p_entry->>'seccomp',
        (p_entry->>'shm_mb')::bigint, (p_entry->>'home_mb')::bigint, (p_entry->>'tmp_mb')::bigint, (p_entry->>'pids_limit')::bigint,
        p_entry->'required_labels',
        CASE WHEN jsonb_typeof(p_entry->'zones') = 'array' THEN ARRAY(
            SELECT z.id FROM zones z WHERE p_entry->'zones' ? z.name ORDER BY z.position) END,
        CASE WHEN jsonb_typeof(p_entry->'groups') = 'array' THEN ARRAY(
            SELECT g.id FROM groups g WHERE lower(g.name) IN (SELECT lower(x) FROM jsonb_array_elements_text(p_entry->'groups') x)
            ORDER BY g.id) END,
        -- A Web App node of the release before does not know it, and leaves it as it is.
        CASE WHEN p_entry ? 'image_policy' THEN p_entry->>'image_policy'
            ELSE (SELECT w.image_policy FROM workspaces w WHERE w.id = p_id) END
        INTO v.id, v.name, v.description, v.icon, v.image, v.cpu_milli, v.memory_mb, v.gpu, v.network, v.seccomp, v.shm_mb, v.home_mb,
            v.tmp_mb, v.pids_limit, v.required_labels, v.zones, v.groups, v.image_policy;
    IF p_version IS NULL THEN
        INSERT INTO workspaces (id, name, description, icon, image, cpu_milli, memory_mb, gpu, network, seccomp, shm_mb, home_mb, tmp_mb,
                pids_limit, required_labels, zones, groups, image_policy)
            VALUES (v.id, v.name, v.description, v.icon, v.image, v.cpu_milli, v.memory_mb, v.gpu, v.network, v.seccomp, v.shm_mb,
                v.home_mb, v.tmp_mb, v.pids_limit, v.required_labels, v.zones, v.groups, v.image_policy)
            RETURNING * INTO v;
    ELSE
        UPDATE workspaces SET name = v.name, description = v.description, icon = v.icon, image = v.image, cpu_milli = v.cpu_milli,
            memory_mb = v.memory_mb, gpu = v.gpu, network = v.network, seccomp = v.seccomp, shm_mb = v.shm_mb, home_mb = v.home_mb,
            tmp_mb = v.tmp_mb, pids_limit = v.pids_limit, required_labels = v.required_labels, zones = v.zones,
            groups = v.groups, image_policy = v.image_policy, version = version + 1
            WHERE id = p_id AND version = p_version AND deleted_at IS NULL RETURNING * INTO v;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'changed');
        END IF;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail)
        VALUES (p_by, CASE WHEN p_version IS NULL THEN 'create_workspace' ELSE 'update_workspace' END, v.name, 'ok', p_entry);
    RETURN jsonb_build_object('outcome', 'ok', 'workspace', workspace_view_v1(v));
END
$$;
