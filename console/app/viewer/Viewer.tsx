/** The live desktop: the picture over the whole page, and one slim bar above it. */

import { Button, Group, Loader } from '@mantine/core';
import { useNetwork } from '@mantine/hooks';
import { useEffect, useRef, useState } from 'react';
import { Link } from 'react-router';
import { useMe, useNoteSignedOut } from '../api/queries';
import type { Session } from '../api/types';
import { useEndDialog } from '../session/EndDialog';
import type { StreamState } from '../stream/connection';
import { sentence } from '../ui/text';
import { Badge } from './Badge';
import { LimitWarning } from './LimitWarning';
import { SignInAgain } from './SignInAgain';
import { StandsStill } from './StandsStill';
import { Toolbar } from './Toolbar';
import { WatchBanner } from './WatchBanner';
import { WatchQuestion } from './WatchQuestion';
import classes from './Viewer.module.css';
import { statusOf } from './status';
import { type Desktop, useDesktop } from './useDesktop';

interface Props {
  session: Session;
  reachable: boolean;
}

export default function Viewer({ session, reachable }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const desktop = useDesktop(session, host);
  const { connection, state, drawn } = desktop;
  useEffect(() => {
    if (reachable) connection.current?.hurry();
  }, [connection, reachable]);
  const end = useEndDialog();
  const toolbar = useRef<HTMLElement>(null);
  useToolbarChord(toolbar);
  const { online } = useNetwork();
  const login = useLogin(desktop);
  const status = drawn ? statusOf(state, { session, online, reachable, signedIn: login.me !== null }) : null;
  const covered = state.name === 'stopped' || login.asks;
  const frozen = session.frozen ?? null;
  return (
    <div className={classes.viewer}>
      <Toolbar ref={toolbar} session={session} desktop={desktop} onEnd={() => end.ask(session)} />
      <main className={classes.stage}>
        <div ref={host} className={classes.host} data-stale={(drawn && state.name !== 'live') || undefined} />
        {!covered && !drawn && frozen === null && <Opening session={session} state={state} />}
        {!covered && frozen && <StandsStill session={session} frozen={frozen} onEnd={() => end.ask(session)} />}
        {state.name === 'stopped' && <Stopped session={session} state={state} onTakeBack={() => connection.current?.restart()} />}
        {login.asks && <SignInAgain session={session} again={login.last} onLater={login.later} />}
        <LimitWarning session={session} />
        <WatchBanner session={session} onStop={() => connection.current?.stopWatching() ?? false} />
        <WatchQuestion session={session} onGone={() => desktop.screen.current?.focus()} />
        <Badge status={login.asks ? null : status} onSignIn={login.me === null && state.name === 'live' ? login.ask : null} />
      </main>
      {end.dialog}
    </div>
  );
}

/** Who is signed in, who was, and whether the page asks to sign in: when the stream cannot go on otherwise, or when the person wants to. */
function useLogin({ connection, state }: Desktop) {
  const me = useMe().data ?? null;
  const [last, setLast] = useState(me);
  const [wanted, setWanted] = useState(false);
  if (me !== null && me !== last) setLast(me);
  if (me !== null && wanted) setWanted(false);
  const noteSignedOut = useNoteSignedOut();
  const isBroken = state.name === 'connecting' || state.name === 'reconnecting';
  const refused = isBroken && state.signedOut;
  useEffect(() => {
    if (refused) noteSignedOut();
  }, [refused, noteSignedOut]);
  useEffect(() => {
    if (me !== null) connection.current?.signedIn();
  }, [connection, me]);
  const later = refused ? null : () => setWanted(false);
  return { me, last, asks: me === null && (refused || wanted), ask: () => setWanted(true), later };
}

function Opening({ session, state }: { session: Session; state: StreamState }) {
  const trouble = state.name === 'connecting' || state.name === 'reconnecting' ? state.trouble : null;
  return (
    <div className={classes.cover} role="status">
      <Loader color="gray" />
      <p>{state.name === 'live' ? 'Waiting for the first picture…' : `Connecting to ${session.name} in ${session.zone}…`}</p>
      {trouble && <p className={classes.trouble}>{sentence(trouble.message)} Trying again.</p>}
    </div>
  );
}

const stopped = {
  ended: 'This session has ended',
  superseded: 'This session is open elsewhere',
  revoked: 'Access was taken away',
  idle: 'You were away',
  protocol: 'The stream was refused',
} as const;

function Stopped({
  session,
  state,
  onTakeBack,
}: {
  session: Session;
  state: Extract<StreamState, { name: 'stopped' }>;
  onTakeBack: () => void;
}) {
  return (
    <div className={classes.cover} role="alert">
      <h1>{stopped[state.reason]}</h1>
      <p>{stoppedWords(state, session)}</p>
      <Group justify="center">
        {state.reason !== 'ended' && state.reason !== 'revoked' && (
          <Button onClick={onTakeBack}>{takeBack[state.reason]}</Button>
        )}
        <Button component={Link} to="/" variant="default">
          Back to the catalogue
        </Button>
      </Group>
    </div>
  );
}

const takeBack = { superseded: 'Use it here', idle: 'Go on', protocol: 'Try again' } as const;

function stoppedWords({ reason, message }: Extract<StreamState, { name: 'stopped' }>, { name }: Session): string {
  if (reason === 'superseded') return `Another window or device shows ${name} now.`;
  if (reason === 'idle') return `${name} was disconnected because nobody used it for a while. It goes on, with everything in it.`;
  return sentence(message);
}

/** The desktop takes every key, so one chord is kept to leave it by. */
function useToolbarChord(toolbar: React.RefObject<HTMLElement | null>) {
  useEffect(() => {
    const leave = (event: KeyboardEvent) => {
      if (!(event.ctrlKey && event.altKey && event.shiftKey && event.code === 'KeyM')) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      toolbar.current?.querySelector<HTMLElement>('button, a')?.focus();
    };
    window.addEventListener('keydown', leave, true);
    return () => window.removeEventListener('keydown', leave, true);
  }, [toolbar]);
}
