import { Button } from '@mantine/core';
import { useEffect } from 'react';
import { useMe } from '../api/queries';
import type { Me, Session } from '../api/types';
import { SignInForm } from '../pages/SignInForm';
import classes from './Viewer.module.css';

/**
 * Over the frozen desktop, when nobody is signed in any more and the stream needs somebody who is: the page stays, and with it the
 * stream that it may go on with.
 */
interface Props {
  session: Session;
  again: Me | null;
  /** Null where the desktop cannot go on without. */
  onLater: (() => void) | null;
}

export function SignInAgain({ session, again, onLater }: Props) {
  const { refetch } = useMe();
  useEffect(() => {
    // Who signs in beside this page, in another tab, need not do it here too.
    const look = () => void refetch();
    window.addEventListener('focus', look);
    return () => window.removeEventListener('focus', look);
  }, [refetch]);
  return (
    <div className={classes.cover}>
      <div className={classes.card} role="dialog" aria-modal="true" aria-labelledby="sign-in-again" aria-describedby="sign-in-why">
        <h1 id="sign-in-again">Sign in to go on</h1>
        <p id="sign-in-why">
          You have been signed out. {session.name} in {session.zone} keeps running{onLater ? '.' : ', and comes back here as you left it.'}
        </p>
        <SignInForm again={again} />
        {onLater && (
          <Button variant="subtle" fullWidth mt="xs" onClick={onLater}>
            Not now
          </Button>
        )}
      </div>
    </div>
  );
}
