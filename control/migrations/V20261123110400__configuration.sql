-- A deployment's zones, groups and workspaces are read as files have them, and applied from files in one step.

-- All of it, and a mark of this state. Zones with the images that they want, groups with their members, by name; Everyone's are everybody.
CREATE FUNCTION configuration_v1() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT c.state || jsonb_build_object('mark', md5(c.state::text)) FROM (SELECT jsonb_build_object(
        'zones', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', z.id, 'name', z.name, 'settings', zone_settings_v1(z),
            'labels', z.labels, 'desired_images', (SELECT coalesce(jsonb_agg(i.reference ORDER BY i.reference), '[]')
                FROM zone_images i WHERE i.zone_id = z.id)) ORDER BY z.position), '[]') FROM zones z),
        'groups', (SELECT coalesce(jsonb_agg(group_view_v1(g) || jsonb_build_object('members', CASE
                WHEN g.system IS DISTINCT FROM 'everyone' THEN (SELECT coalesce(jsonb_agg(u.name ORDER BY u.id), '[]')
                    FROM group_members m JOIN users u ON u.id = m.user_id WHERE m.group_id = g.id AND u.deleted_at IS NULL) END)
            ORDER BY g.priority, g.id), '[]') FROM groups g),
        'workspaces', (SELECT coalesce(jsonb_agg(workspace_view_v1(w) || jsonb_build_object('version', w.version)
            ORDER BY w.created_at, w.name), '[]') FROM workspaces w WHERE w.deleted_at IS NULL)) AS state) c
$$;

-- Carries a plan out, all of it or nothing, if nothing changed since the state with this mark.
-- p_plan: {"zones": [{"id", "entry", "desired_images"}],
-- "groups": [{"id", "version", "name", "priority", "description", "settings", "permissions"}],
-- "members": [{"id", "name", "add": [name], "remove": [name]}], "workspaces": [{"id", "version", "entry"}],
-- "delete_zones": [id], "delete_groups": [id], "delete_workspaces": [id], "revision", "listed_zones": [id], "listed_workspaces": [name]}.
-- Nobody gives or takes permissions that they lack (p_may).
CREATE FUNCTION apply_configuration_v1(p_mark text, p_plan jsonb, p_by uuid, p_may text[], p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_item jsonb;
    v_answer jsonb;
    v_member record;
BEGIN
    -- One after the other, and nobody else writes meanwhile. Launches only read these tables, and go on. Whoever changes a group or who
    -- belongs to it locks its row first, which this lock keeps out, too: groups come before all else in the order of locks.
    LOCK TABLE groups IN EXCLUSIVE MODE;
    LOCK TABLE zones, workspaces, zone_images IN SHARE ROW EXCLUSIVE MODE;
    IF configuration_v1()->>'mark' <> p_mark THEN
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
            PERFORM want_images_v1((v_item->>'id')::uuid, v_item->'desired_images', p_by);
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
        FOR v_item IN SELECT * FROM jsonb_array_elements(p_plan->'members') LOOP
            -- Who joins comes before who leaves: the last administrator may be replaced.
            FOR v_member IN
                SELECT e.name #>> '{}' AS name, e.member FROM (
                    SELECT jsonb_array_elements(v_item->'add') AS name, true AS member
                    UNION ALL SELECT jsonb_array_elements(v_item->'remove'), false) e ORDER BY e.member DESC, e.name
            LOOP
                v_answer := coalesce((SELECT set_membership_v1((v_item->>'id')::uuid, u.id, v_member.member, p_by, p_may, p_address, p_request)
                        FROM users u WHERE lower(u.name) = lower(v_member.name) AND u.deleted_at IS NULL),
                    jsonb_build_object('outcome', 'no_user', 'user', v_member.name))
                    || jsonb_build_object('kind', 'group', 'name', v_item->'name');
                IF v_answer->>'outcome' <> 'ok' THEN
                    RAISE EXCEPTION USING ERRCODE = 'MR002';
                END IF;
            END LOOP;
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
        VALUES (p_by, 'apply_configuration', p_plan->>'revision', 'ok', p_plan - '{zones,groups,members,workspaces}'::text[], p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;
