/**
 * One session from launch to end, at one address, so that a reload comes back to it. Once its desktop has been shown the
 * viewer stays until the session is over: a host out of reach, or a pause, is not the end of a picture.
 */

import { Button, Center, Group, Loader, Text } from '@mantine/core';
import { Suspense, lazy, useEffect, useState } from 'react';
import { Link, Navigate, useLocation, useParams } from 'react-router';
import { useMe } from '../api/queries';
import type { Session } from '../api/types';
import { ProblemNote } from '../ui/ProblemNote';
import { useEndDialog } from './EndDialog';
import { Launching } from './Launching';
import { Over } from './Over';
import { SessionFrame } from './SessionFrame';
import { TabTitle } from './TabTitle';
import { useSession } from './useSession';

const loadViewer = () => import('../viewer/Viewer');
const Viewer = lazy(loadViewer);

export default function SessionPage() {
  const { id = '' } = useParams();
  // A new id is a new page: nothing of the last session may linger.
  return <OneSession key={id} id={id} />;
}

function OneSession({ id }: { id: string }) {
  const me = useMe().data ?? null;
  const { query, reachable } = useSession(id, me !== null);
  const session = query.data;
  const [seen, setSeen] = useState(false);
  const { pathname } = useLocation();
  useEffect(() => {
    // The viewer is fetched while the workspace starts.
    void loadViewer();
  }, []);
  if (session?.state === 'running' && !seen) setSeen(true);

  // A desktop that has been shown asks for the sign-in itself, and keeps its stream meanwhile.
  if (me === null && !(session && seen && hasDesktop(session))) {
    return <Navigate to="/sign-in" replace state={{ from: pathname }} />;
  }
  return (
    <>
      <TabTitle session={session} />
      {session ? (
        <SessionView session={session} seen={seen} reachable={reachable} />
      ) : (
        <SessionFrame title="Session">
          {query.isError ? <ProblemNote error={query.error} onRetry={() => void query.refetch()} /> : <Loader />}
        </SessionFrame>
      )}
    </>
  );
}

function hasDesktop({ state }: Session): boolean {
  return state === 'running' || state === 'paused' || state === 'unreachable';
}

interface ViewProps {
  session: Session;
  seen: boolean;
  /** The Web App answered when it was last asked. */
  reachable: boolean;
}

function SessionView({ session, seen, reachable }: ViewProps) {
  switch (session.state) {
    case 'ended':
    case 'failed':
    case 'lost':
      return (
        <SessionFrame session={session} title={session.name}>
          <Over session={session} state={session.state} />
        </SessionFrame>
      );
    case 'ending':
      return (
        <SessionFrame session={session} title={session.name}>
          <Group role="status">
            <Loader size="sm" /> Ending the session…
          </Group>
        </SessionFrame>
      );
    case 'starting':
      return <Before session={session} />;
    case 'running':
    case 'paused':
    case 'unreachable':
      return seen ? (
        <Suspense
          fallback={
            <Center mih="100dvh">
              <Loader aria-label="Loading the viewer" />
            </Center>
          }
        >
          <Viewer session={session} reachable={reachable} />
        </Suspense>
      ) : (
        <Before session={session} />
      );
  }
}

/** Not running yet, or not reachable when the page was opened. */
function Before({ session }: { session: Session }) {
  const end = useEndDialog();
  return (
    <SessionFrame session={session} title={session.name}>
      {session.state === 'starting' && <Launching session={session} />}
      {session.state === 'unreachable' && (
        <Text role="status">
          The host {session.agent ?? 'of this session'} in {session.zone} does not answer at the moment. The session keeps
          its place there; this page goes on as soon as the host is back.
        </Text>
      )}
      {session.state === 'paused' && <Text role="status">This session is paused. This page goes on when it runs again.</Text>}
      <Group justify="space-between" mt="lg">
        <Button component={Link} to="/" variant="default">
          Back to the catalogue
        </Button>
        <Button variant="subtle" color="red" onClick={() => end.ask(session)}>
          End session
        </Button>
      </Group>
      {end.dialog}
    </SessionFrame>
  );
}
