/**
 * Follows a move to another zone: ends a session and launches its workspace where its user belongs now. One after the other, because limits
 * and a persistent home allow no two at a time. A reload on the way comes back to the session's own page, which goes on from wherever it is.
 */

import { Button, Group, Loader, Stack, Text } from '@mantine/core';
import { useEffect, useId, useRef, useState } from 'react';
import { Link, Navigate, useNavigate, useParams } from 'react-router';
import { idempotencyKey } from '../api/client';
import { type Problem, asProblem } from '../api/problem';
import { isFinal, useEndSession, useLaunch, useMe } from '../api/queries';
import type { Session } from '../api/types';
import { HomeChoices } from '../pages/HomeChoices';
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
          It runs in {session.zone}, and {offer.because}. To move, <strong>this session ends first</strong>: its programs are closed, and what was
          not saved is lost. Only then is the workspace launched anew in {offer.zone}. Should that fail, this session does not come back.
        </Text>
        <Text>You may also stay: this session goes on where it is.</Text>
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
  const { mutate } = useLaunch();
  const key = useRef(idempotencyKey());
  const asked = useRef(false);
  const titleId = useId();
  const [problem, setProblem] = useState<Problem | null>(null);
  const [waiting, setWaiting] = useState(false);
  const ended = isFinal(session.state);
  const launch = ({ to = zone, withoutHome = false, again = false }: { to?: string | null; withoutHome?: boolean; again?: boolean } = {}) => {
    // Whoever waits goes on reading why.
    if (!again) {
      setProblem(null);
      setWaiting(false);
    }
    mutate(
      { workspaceId: session.workspace.id, zone: to, key: key.current, withoutHome },
      {
        onSuccess: (next) => void navigate(`/sessions/${next.id}`, { replace: true }),
        onError: (error) => {
          const why = asProblem(error);
          setProblem(why);
          if (!why.homeless || why.details.retryAfter === null) setWaiting(false);
          // Only where the answer may have been lost is it the same wish that is asked for again.
          if (!why.temporary) key.current = idempotencyKey();
        },
      },
    );
  };
  useEffect(() => {
    if (!ended || asked.current) return;
    asked.current = true;
    launch();
  });
  if (!problem) {
    return (
      <SessionFrame session={session} title={session.name}>
        <Group role="status">
          <Loader size="sm" /> {ended ? `Launching in ${zone}…` : `Ending the session in ${session.zone}…`}
        </Group>
      </SessionFrame>
    );
  }
  const elsewhere = problem.details.code === 'home_elsewhere';
  // Asked again, a home in another zone is still there; for one that comes back somebody can wait.
  const mayHelp = !problem.homeless || (!elsewhere && problem.details.retryAfter === null);
  return (
    <SessionFrame session={session} title={session.name} titleId={titleId}>
      <Stack>
        <Text>The session in {session.zone} has ended, and the workspace was not launched in {zone}.</Text>
        <ProblemNote error={problem} {...(mayHelp ? { onRetry: () => launch() } : {})} />
        {problem.homeless && (
          <div>
            {elsewhere && (
              <Button onClick={() => launch({ to: null })} aria-describedby={titleId} fullWidth>
                Launch where your home is
              </Button>
            )}
            <HomeChoices
              problem={problem}
              waiting={waiting}
              onWait={setWaiting}
              onAgain={() => launch({ again: true })}
              onTemporary={() => launch({ withoutHome: true })}
              describedBy={titleId}
            />
          </div>
        )}
        <Button component={Link} to="/" variant="default">
          Back to the catalogue
        </Button>
      </Stack>
    </SessionFrame>
  );
}
