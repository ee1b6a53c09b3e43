/** The live desktop: the picture over the whole page, and one slim bar above it. */

import { Button, Group, Loader } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { Link } from 'react-router';
import type { Session } from '../api/types';
import { useEndDialog } from '../session/EndDialog';
import type { StreamState } from '../stream/connection';
import { sentence } from '../ui/text';
import { Toolbar } from './Toolbar';
import { useDesktop } from './useDesktop';
import classes from './Viewer.module.css';

export default function Viewer({ session, reachable }: { session: Session; reachable: boolean }) {
  const host = useRef<HTMLDivElement>(null);
  const desktop = useDesktop(session, host);
  const { connection } = desktop;
  useEffect(() => {
    if (reachable) connection.current?.hurry();
  }, [connection, reachable]);
  const end = useEndDialog();
  const toolbar = useRef<HTMLElement>(null);
  useToolbarChord(toolbar);
  const { state, drawn } = desktop;
  return (
    <div className={classes.viewer}>
      <Toolbar ref={toolbar} session={session} desktop={desktop} onEnd={() => end.ask(session)} />
      <main className={classes.stage}>
        <div ref={host} className={classes.host} />
        {!drawn && state.name !== 'stopped' && <Opening session={session} state={state} />}
        {state.name === 'stopped' && (
          <Stopped session={session} state={state} onTakeBack={() => desktop.connection.current?.restart()} />
        )}
        <Badge session={session} state={state} drawn={drawn} />
      </main>
      {end.dialog}
    </div>
  );
}

function Opening({ session, state }: { session: Session; state: StreamState }) {
  const trouble = state.name === 'connecting' || state.name === 'reconnecting' ? state.trouble : null;
  return (
    <div className={classes.cover} role="status">
      <Loader color="gray" />
      <p>{state.name === 'live' ? 'Waiting for the first picture…' : `Connecting to ${session.name} in ${session.zone}…`}</p>
      {trouble && <p className={classes.trouble}>{sentence(trouble)} Trying again.</p>}
    </div>
  );
}

/** Quiet word while something is not as it should be and takes care of itself. */
function Badge({ session, state, drawn }: { session: Session; state: StreamState; drawn: boolean }) {
  const text = badgeText(session, state, drawn);
  return (
    <div className={classes.badge} role="status" data-shown={text !== null || undefined}>
      {text !== null && (
        <>
          <Loader size={14} color="gray" /> {text}
        </>
      )}
    </div>
  );
}

function badgeText(session: Session, state: StreamState, drawn: boolean): string | null {
  if (!drawn || state.name === 'stopped') return null;
  if (session.state === 'unreachable') return 'The host does not answer; your session keeps its place. Trying again';
  if (session.state === 'paused') return 'Paused';
  return state.name === 'live' ? null : 'Reconnecting';
}

const stopped = {
  ended: 'This session has ended',
  superseded: 'This session is open elsewhere',
  revoked: 'Access was taken away',
  protocol: 'The stream was refused',
  unavailable: 'The stream cannot be reached',
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
      <p>
        {state.reason === 'superseded' ? `Another window or device shows ${session.name} now.` : sentence(state.message)}
      </p>
      <Group justify="center">
        {state.reason !== 'ended' && state.reason !== 'revoked' && (
          <Button onClick={onTakeBack}>{state.reason === 'superseded' ? 'Use it here' : 'Try again'}</Button>
        )}
        <Button component={Link} to="/" variant="default">
          Back to the catalogue
        </Button>
      </Group>
    </div>
  );
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
