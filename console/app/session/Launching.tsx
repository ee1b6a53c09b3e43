import { Loader, Progress } from '@mantine/core';
import type { Session } from '../api/types';
import { useNow } from '../ui/When';
import { CheckIcon, CrossIcon } from '../ui/icons';
import { clock } from '../ui/time';
import classes from './Launching.module.css';
import { placeOf } from './place';
import { type StepStatus, launchSteps } from './progress';

/** What the launch is doing, step by step, as the server reports it. */
export function Launching({ session }: { session: Session }) {
  const now = useNow(1_000);
  const place = placeOf(session);
  const elapsed = (now.getTime() - new Date(session.created_at).getTime()) / 1000;
  return (
    <>
      <p className={classes.lead}>
        Starting in {place.where}
        <span className={classes.clock} aria-hidden="true">
          {clock(elapsed)}
        </span>
      </p>
      {place.why !== null && <p className={classes.why}>{place.why}</p>}
      <LaunchSteps session={session} />
      <p className="m-hidden" role="status">
        {session.progress.message}
      </p>
    </>
  );
}

/** The steps alone: also shown after a launch that failed, to tell how far it came. */
export function LaunchSteps({ session }: { session: Session }) {
  const { percent, message } = session.progress;
  return (
    <ol className={classes.steps}>
      {launchSteps(session).map(({ step, label, status }) => (
        <li key={step} className={classes.step} data-status={status} aria-current={status === 'active' ? 'step' : undefined}>
          <span className={classes.mark}>
            <Mark status={status} />
          </span>
          <span className={classes.label}>
            {label}
            {status === 'active' && message && <small className={classes.message}>{message}</small>}
            {status === 'active' && percent !== null && (
              <Progress className={classes.bar} value={percent} size="sm" aria-label={label} />
            )}
          </span>
        </li>
      ))}
    </ol>
  );
}

function Mark({ status }: { status: StepStatus }) {
  if (status === 'done') return <CheckIcon />;
  if (status === 'failed') return <CrossIcon />;
  if (status === 'active') return <Loader size={18} />;
  return <span className={classes.dot} />;
}
