import { Button, Group, Stack } from '@mantine/core';
import { useState } from 'react';
import { Link, useNavigate } from 'react-router';
import { idempotencyKey } from '../api/client';
import { useLaunch } from '../api/queries';
import type { Session } from '../api/types';
import { ProblemNote } from '../ui/ProblemNote';
import { sentence } from '../ui/text';
import { When } from '../ui/When';
import { ExplanationView } from './ExplanationView';
import { LaunchSteps } from './Launching';

const lead = {
  ended: 'This session has ended.',
  failed: 'This session could not be kept running.',
  lost: 'The host of this session is gone, and the session with it.',
} as const;

/** After the end: why, and where to go from here. */
export function Over({ session, state }: { session: Session; state: keyof typeof lead }) {
  const navigate = useNavigate();
  const launch = useLaunch();
  const [key] = useState(idempotencyKey);
  const [explain, setExplain] = useState(false);
  const again = () => {
    launch.mutate(
      { workspaceId: session.workspace.id, zone: null, key },
      { onSuccess: (next) => void navigate(`/sessions/${next.id}`) },
    );
  };
  const neverStarted = state === 'failed' && session.started_at === null;
  return (
    <Stack>
      <div role="status">
        <p style={{ margin: 0 }}>{neverStarted ? 'This session could not be started.' : lead[state]}</p>
        {session.reason && (
          <p style={{ margin: '8px 0 0' }}>
            <strong>Why:</strong> {sentence(session.reason)}
          </p>
        )}
        <p style={{ margin: '8px 0 0', color: 'var(--m-muted)' }}>
          Ended <When at={session.ended_at} />
        </p>
      </div>
      {neverStarted && <LaunchSteps session={session} />}
      {launch.isError && <ProblemNote error={launch.error} />}
      <Group>
        <Button component={Link} to="/" variant={state === 'ended' ? 'filled' : 'default'}>
          Back to the catalogue
        </Button>
        <Button variant={state === 'ended' ? 'default' : 'filled'} onClick={again} loading={launch.isPending}>
          Launch again
        </Button>
        {state !== 'ended' && !explain && (
          <Button variant="subtle" onClick={() => setExplain(true)}>
            How it was placed
          </Button>
        )}
      </Group>
      {explain && <ExplanationView session={session} />}
    </Stack>
  );
}
