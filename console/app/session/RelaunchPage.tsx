/**
 * Follows a move to another zone: ends a session and launches its workspace where its user belongs now. One after the other, because limits
 * and a persistent home allow no two at a time. A reload on the way comes back to the session's own page, which goes on from wherever it is.
 */

import { Button, Group, Loader, Stack, Text } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { Link, Navigate, useNavigate, useParams } from 'react-router';
import { idempotencyKey } from '../api/client';
import { isFinal, useEndSession, useLaunch, useMe } from '../api/queries';
import type { Session } from '../api/types';
import { ProblemNote } from '../ui/ProblemNote';
import { useTitle } from '../ui/useTitle';
import { SessionFrame } from './SessionFrame';
import { useSession } from './useSession';

export default function RelaunchPage() {
  const { id = '' } = useParams();
  const me = useMe().data ?? null;
  const { query } = useSession(id, me !== null);
  useTitle('Relaunch');
  if (me === null) return <Navigate to="/sign-in" replace state={{ from: `/sessions/${id}` }} />;
  if (!query.data) {
    return (
      <SessionFrame title="Relaunch">
        {query.isError ? <ProblemNote error={query.error} onRetry={() => void query.refetch()} /> : <Loader />}
      </SessionFrame>
    );
  }
  return <Relaunch key={id} session={query.data} />;
}

function Relaunch({ session }: { session: Session }) {
  // Once the old session has ended, it names the zone no more.
  const [zone, setZone] = useState<string | null>(null);
  if (zone !== null) return <Going session={session} zone={zone} />;
  if (!session.relaunch) return <Navigate to={`/sessions/${session.id}`} replace />;
  return <Question session={session} offer={session.relaunch} onGo={setZone} />;
}

interface QuestionProps {
  session: Session;
  offer: NonNullable<Session['relaunch']>;
  onGo: (zone: string) => void;
}

function Question({ session, offer, onGo }: QuestionProps) {
  const end = useEndSession();
  const go = () => end.mutate(session.id, { onSuccess: () => onGo(offer.zone) });
  return (
    <SessionFrame session={session} title={`Relaunch ${session.name} in ${offer.zone}?`}>
      <Stack>
        <Text>
          It runs in {session.zone}, and {offer.because}. The programs in it are closed and what was not saved is lost; then the
          workspace starts anew in {offer.zone}. You may also stay: this session goes on where it is.
        </Text>
        {end.isError && <ProblemNote error={end.error} />}
        <Group justify="flex-end">
          <Button component={Link} to={`/sessions/${session.id}`} variant="default">
            Stay in {session.zone}
          </Button>
          <Button onClick={go} loading={end.isPending}>
            End and relaunch
          </Button>
        </Group>
      </Stack>
    </SessionFrame>
  );
}

/** The order to end was taken: the launch follows as soon as it is carried out. */
function Going({ session, zone }: { session: Session; zone: string }) {
  const navigate = useNavigate();
  const { mutate, isError, error } = useLaunch();
  const [key] = useState(idempotencyKey);
  const asked = useRef(false);
  const ended = isFinal(session.state);
  const workspaceId = session.workspace.id;
  const launch = () => {
    mutate({ workspaceId, zone, key }, { onSuccess: (next) => void navigate(`/sessions/${next.id}`, { replace: true }) });
  };
  useEffect(() => {
    if (!ended || asked.current) return;
    asked.current = true;
    launch();
  });
  return (
    <SessionFrame session={session} title={session.name}>
      {isError ? (
        <Stack>
          <ProblemNote error={error} onRetry={launch} />
          <Button component={Link} to="/" variant="default">
            Back to the catalogue
          </Button>
        </Stack>
      ) : (
        <Group role="status">
          <Loader size="sm" /> {ended ? `Launching in ${zone}…` : `Ending the session in ${session.zone}…`}
        </Group>
      )}
    </SessionFrame>
  );
}
