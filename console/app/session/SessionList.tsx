import { Button } from '@mantine/core';
import { useNavigate } from 'react-router';
import { isFinal } from '../api/queries';
import type { Session } from '../api/types';
import { SessionStateBadge } from '../ui/StateBadge';
import { sentence } from '../ui/text';
import { When } from '../ui/When';
import { WorkspaceArt } from '../ui/WorkspaceArt';
import { useEndDialog } from './EndDialog';
import { RelaunchButton } from './RelaunchButton';
import { placeOf } from './place';
import classes from './SessionList.module.css';

/** The person's own sessions, each with what can be done about it. */
export function SessionList({ sessions }: { sessions: Session[] }) {
  const navigate = useNavigate();
  const end = useEndDialog();
  return (
    <>
      <ul className={classes.list}>
        {sessions.map((session) => (
          <li key={session.id} className={classes.row} aria-label={session.name}>
            <WorkspaceArt icon={session.workspace.icon} small />
            <div className={classes.what}>
              <div className={classes.name}>
                {session.name} <SessionStateBadge session={session} />
              </div>
              <div className={classes.where}>
                <Where session={session} /> · {isFinal(session.state) ? 'ended' : 'started'}{' '}
                <When at={isFinal(session.state) ? session.ended_at : session.created_at} />
                {isFinal(session.state) && session.reason && <> · {session.reason}</>}
              </div>
              <Elsewhere session={session} />
              {session.frozen && <div className={classes.still}>{`${sentence(session.frozen.message)} ${sentence(session.frozen.hint)}`}</div>}
            </div>
            {!isFinal(session.state) && (
              <div className={classes.actions}>
                <RelaunchButton session={session} />
                <Button variant="light" onClick={() => void navigate(`/sessions/${session.id}`)}>
                  Open
                </Button>
                <Button
                  variant="subtle"
                  color="red"
                  disabled={session.state === 'ending'}
                  onClick={() => end.ask(session)}
                >
                  End session
                </Button>
              </div>
            )}
          </li>
        ))}
      </ul>
      {end.dialog}
    </>
  );
}

/** Where it runs; where that is not what was meant, why. */
function Where({ session }: { session: Session }) {
  const place = placeOf(session);
  return <span title={place.why ?? undefined}>{place.where}</span>;
}

function Elsewhere({ session }: { session: Session }) {
  const place = placeOf(session);
  return place.elsewhere && !isFinal(session.state) ? <div className={classes.elsewhere}>{place.why}</div> : null;
}
