import { Button, Loader, Text } from '@mantine/core';
import { useEffect, useEffectEvent } from 'react';
import { Link } from 'react-router';
import type { Problem } from '../api/problem';
import classes from './Catalogue.module.css';

interface Props {
  /** Why the home cannot be had now. */
  problem: Problem;
  /** It is being waited for. */
  waiting: boolean;
  onWait: (waits: boolean) => void;
  /** Ask for it again. */
  onAgain: () => void;
  /** Launch without it. */
  onTemporary: () => void;
  /** Id of what names the workspace. */
  describedBy: string;
}

/** What a person can do where their home cannot be had: wait for it where that may help, or do without it this once. */
export function HomeChoices({ problem, waiting, onWait, onAgain, onTemporary, describedBy }: Props) {
  const seconds = problem.details.retryAfter;
  const again = useEffectEvent(onAgain);
  useEffect(() => {
    if (!waiting || seconds === null) return;
    const timer = setTimeout(() => again(), seconds * 1000);
    return () => clearTimeout(timer);
    // Each refusal is a new problem: the time begins anew.
  }, [waiting, seconds, problem]);
  return (
    <div className={classes.homeChoices}>
      {waiting && (
        <Text size="sm" role="status">
          <Loader size={12} mr={6} aria-hidden />
          Waiting for your home, and launching as soon as it can be had.
        </Text>
      )}
      {seconds !== null && (
        <Button variant="default" onClick={() => onWait(!waiting)} aria-describedby={describedBy} fullWidth>
          {waiting ? 'Stop waiting' : 'Wait for it'}
        </Button>
      )}
      <Button variant="default" onClick={onTemporary} aria-describedby={describedBy} fullWidth>
        Launch with a temporary home
      </Button>
      <Link to="/homes">See your homes</Link>
    </div>
  );
}
