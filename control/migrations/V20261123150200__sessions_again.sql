-- Sessions as they are seen since: also whether they stand still.

-- Why a session stands still, as its agent says, and what to do about it; null where it does not, or where nobody knows.
CREATE FUNCTION frozen_view_v1(s sessions, n nodes) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN s.state IN ('starting', 'running') THEN (
        SELECT CASE f->>'because'
            WHEN 'storage_away' THEN jsonb_build_object('because', 'storage_away',
                'message', 'the host ' || n.name || ' does not reach the storage that this session''s home is on',
                'hint', 'Nothing in it is lost: it goes on by itself, as you left it, when the storage is back. '
                    || 'If that takes long, tell an administrator.')
            WHEN 'overtaken' THEN jsonb_build_object('because', 'overtaken',
                'message', 'another session has this session''s home now, so this one may not write to it any more',
                'hint', 'End this session and launch again. What was saved before is in the home; what came later is lost.')
            ELSE jsonb_build_object('because', 'unknown',
                'message', 'the host ' || n.name || ' does not let this session write to its home at the moment',
                'hint', 'Wait; if it takes long, tell an administrator.') END
        FROM jsonb_array_elements(n.report->'frozen') f WHERE f->>'session_id' = s.id::text LIMIT 1) END
$$;

CREATE OR REPLACE FUNCTION session_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id, 'name', w.name,
        'workspace', jsonb_build_object('id', w.id, 'name', w.name, 'icon', w.icon),
        'user', jsonb_build_object('id', u.id, 'name', u.name),
        'zone', coalesce((SELECT z.name FROM zones z WHERE z.id = s.zone_id), (SELECT g.name FROM gone_zones g WHERE g.id = s.zone_id)),
        'agent', n.name, 'state', s.state,
        'progress', jsonb_build_object('step', s.progress_step, 'message', s.progress_message, 'percent', s.progress_percent),
        'reason', s.reason, 'choice', s.explanation->'choice', 'relaunch', relaunch_view_v1(s),
        'created_at', s.created_at, 'started_at', s.started_at, 'ended_at', s.ended_at) || session_life_v1(s)
        || jsonb_build_object('home', CASE WHEN s.home_id IS NULL THEN 'temporary' ELSE 'persistent' END,
            'watches', watches_view_v1(s.id),
            'frozen', frozen_view_v1(s, n))
    FROM workspaces w, users u, nodes n
    WHERE w.id = s.workspace_id AND u.id = s.user_id AND n.id = s.node_id
$$;
