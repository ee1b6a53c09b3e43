/** Somebody else's desktop, to look at. */

import { Button, Loader } from '@mantine/core';
import { useNetwork } from '@mantine/hooks';
import { useRef } from 'react';
import { useNavigate } from 'react-router';
import { useEndWatch } from '../api/queries';
import type { Session, Watch } from '../api/types';
import { sentence } from '../ui/text';
import { Badge } from '../viewer/Badge';
import bar from '../viewer/Toolbar.module.css';
import classes from '../viewer/Viewer.module.css';
import { statusOf } from '../viewer/status';
import { useDesktop } from '../viewer/useDesktop';

interface Props {
  session: Session;
  watch: Watch;
  reachable: boolean;
}

export default function LookingOn({ session, watch, reachable }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const { state, drawn } = useDesktop(session, host, watch.id);
  const { online } = useNetwork();
  const navigate = useNavigate();
  const end = useEndWatch();
  const leave = () => {
    // Whether or not it is heard: the stream ends with this page.
    end.mutate({ id: session.id, watch: watch.id });
    void navigate('/admin/sessions');
  };
  const status = drawn ? statusOf(state, { session, online, reachable, signedIn: true }) : null;
  return (
    <div className={classes.viewer}>
      <nav className={bar.bar} aria-label="Looking on">
        <span className={bar.name} data-kept>
          Looking on at {session.name} of {session.user.name}. What you do here does not reach it
        </span>
        <Button className={bar.end ?? ''} size="compact-sm" variant="light" color="red" onClick={leave}>
          Leave
        </Button>
      </nav>
      <main className={classes.stage}>
        <div ref={host} className={classes.host} data-stale={(drawn && state.name !== 'live') || undefined} />
        {!drawn && state.name !== 'stopped' && (
          <div className={classes.cover} role="status">
            <Loader color="gray" />
            <p>Connecting to {session.name}…</p>
          </div>
        )}
        {state.name === 'stopped' && (
          <div className={classes.cover} role="alert">
            <h1>Looking on is over</h1>
            <p>{sentence(state.message)}</p>
            <Button variant="default" onClick={leave}>
              Back to the sessions
            </Button>
          </div>
        )}
        <Badge status={status} onSignIn={null} />
      </main>
    </div>
  );
}
