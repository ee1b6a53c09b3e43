import { Button, Loader } from '@mantine/core';
import { useEffect, useState } from 'react';
import classes from './Viewer.module.css';
import { type Status, howLong } from './status';

/**
 * A quiet word in the corner. Its text is announced once, when it changes; how long it has lasted is for the eye alone. It takes no focus
 * and covers nothing that is clicked, but for its one button.
 */
export function Badge({ status, onSignIn }: { status: Status | null; onSignIn: (() => void) | null }) {
  return (
    <div className={classes.corner}>
      <div className={classes.badge} data-shown={status !== null || undefined}>
        {status?.busy && <Loader size={14} color="#dfe5ea" aria-hidden />}
        <span role="status">{status?.text}</span>
        {typeof status?.since === 'number' && <Since key={status.since} since={status.since} />}
        {onSignIn && (
          <Button size="compact-xs" variant="white" color="dark" onClick={onSignIn}>
            Sign in
          </Button>
        )}
      </div>
    </div>
  );
}

function Since({ since }: { since: number }) {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const text = howLong(now - since);
  return text === '' ? null : (
    <span className={classes.since} aria-hidden>
      {text}
    </span>
  );
}
