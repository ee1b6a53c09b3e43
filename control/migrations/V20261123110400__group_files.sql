-- Groups live in files beside zones and workspaces. No release has called the functions that these take the place of.

DROP FUNCTION apply_configuration_v1(text, jsonb, uuid, text, text);
DROP FUNCTION configuration_v1();

-- Zones, groups and workspaces as files have them, and a mark of this state. Who belongs to a group is none of a file's business.
CREATE FUNCTION configuration_v2() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT c.state || jsonb_build_object('mark', md5(c.state::text)) FROM (SELECT jsonb_build_object(
        'zones', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', z.id, 'name', z.name, 'settings', zone_settings_v1(z),
            'labels', z.labels) ORDER BY z.position), '[]') FROM zones z),
        'groups', (SELECT coalesce(jsonb_agg(group_view_v1(g) - 'members'::text ORDER BY g.priority, g.id), '[]') FROM groups g),
        'workspaces', (SELECT coalesce(jsonb_agg(workspace_view_v1(w) || jsonb_build_object('version', w.version)
            ORDER BY w.created_at, w.name), '[]') FROM workspaces w WHERE w.deleted_at IS NULL)) AS state) c
$$;

-- Carries a plan out, all of it or nothing, if nothing changed since the state with this mark.
-- p_plan: {"zones": [{"id", "entry"}], "groups": [{"id", "version", "name", "priority", "description", "settings", "permissions"}],
-- "workspaces": [{"id", "version", "entry"}], "delete_zones": [id], "delete_groups": [id], "delete_workspaces": [id], "revision",
-- "listed_zones": [id], "listed_workspaces": [name]}. Nobody gives or takes permissions that they lack (p_may).
CREATE FUNCTION apply_configuration_v2(p_mark text, p_plan jsonb, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_item jsonb;
    v_answer jsonb;
BEGIN
    -- One after the other, and nobody else writes meanwhile. Launches only read these tables, and go on.
    LOCK TABLE zones, workspaces IN SHARE ROW EXCLUSIVE MODE;
    IF configuration_v2()->>'mark' <> p_mark THEN
        RETURN jsonb_build_object('outcome', 'changed');
    END IF;
    BEGIN
        -- First all names, so that each may name any other.
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'zones') LOOP
            INSERT INTO zones (id, name, settings, labels)
                VALUES ((v_item->>'id')::uuid, v_item->'entry'->>'name', (v_item->'entry'->'settings') - 'alternate_zones'::text, '{}')
                ON CONFLICT (id) DO UPDATE SET name = excluded.name;
        END LOOP;
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'zones') LOOP
            v_answer := save_zone_v1((v_item->>'id')::uuid, v_item->'entry', p_by) || jsonb_build_object('kind', 'zone', 'name', v_item->'entry'->'name');
            IF v_answer->>'outcome' <> 'ok' THEN
                RAISE EXCEPTION USING ERRCODE = 'MR002';
            END IF;
        END LOOP;
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'groups') LOOP
            v_answer := CASE WHEN v_item->'version' = 'null' THEN
                create_group_v1((v_item->>'id')::uuid, v_item->>'name', (v_item->>'priority')::integer, v_item->>'description',
                    v_item->'settings', ARRAY(SELECT jsonb_array_elements_text(v_item->'permissions')), p_by, p_may, p_address, p_request)
                ELSE change_group_v1((v_item->>'id')::uuid, (v_item->>'version')::bigint, v_item->>'name', (v_item->>'priority')::integer,
                    v_item->>'description', v_item->'settings', ARRAY(SELECT jsonb_array_elements_text(v_item->'permissions')),
                    p_by, p_may, p_address, p_request) END
                || jsonb_build_object('kind', 'group', 'name', v_item->'name');
            IF v_answer->>'outcome' <> 'ok' THEN
                RAISE EXCEPTION USING ERRCODE = 'MR002';
            END IF;
        END LOOP;
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'workspaces') LOOP
            v_answer := save_workspace_v1((v_item->>'id')::uuid, (v_item->>'version')::bigint, v_item->'entry', p_by)
                || jsonb_build_object('kind', 'workspace', 'name', v_item->'entry'->'name');
            IF v_answer->>'outcome' <> 'ok' THEN
                RAISE EXCEPTION USING ERRCODE = 'MR002';
            END IF;
        END LOOP;
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'delete_workspaces') LOOP
            UPDATE workspaces SET deleted_at = now() WHERE id = (v_item #>> '{}')::uuid;
        END LOOP;
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'delete_groups') LOOP
            v_answer := delete_group_v1((v_item #>> '{}')::uuid, p_by, p_may, p_address, p_request)
                || jsonb_build_object('kind', 'group', 'name', v_item);
            IF v_answer->>'outcome' <> 'ok' THEN
                RAISE EXCEPTION USING ERRCODE = 'MR002';
            END IF;
        END LOOP;
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'delete_zones') LOOP
            SELECT delete_zone_v1(z.id, false, p_by) || jsonb_build_object('kind', 'zone', 'name', z.name) INTO v_answer
                FROM zones z WHERE z.id = (v_item #>> '{}')::uuid;
            IF v_answer->>'outcome' <> 'ok' THEN
                RAISE EXCEPTION USING ERRCODE = 'MR002';
            END IF;
        END LOOP;
    EXCEPTION WHEN SQLSTATE 'MR002' THEN
        RETURN v_answer;
    END;
    UPDATE zones SET applied_revision = p_plan->>'revision', applied_version = version, applied_at = now()
        WHERE p_plan->'listed_zones' ? id::text;
    UPDATE workspaces SET applied_revision = p_plan->>'revision', applied_version = version, applied_at = now()
        WHERE p_plan->'listed_workspaces' ? name AND deleted_at IS NULL;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'apply_configuration', p_plan->>'revision', 'ok', p_plan - '{zones,groups,workspaces}'::text[], p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;
