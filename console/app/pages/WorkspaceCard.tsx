import { Button } from '@mantine/core';
import { useId, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { idempotencyKey } from '../api/client';
import { type Problem, asProblem } from '../api/problem';
import { useLaunch } from '../api/queries';
import type { Workspace } from '../api/types';
import { WorkspaceArt } from '../ui/WorkspaceArt';
import classes from './Catalogue.module.css';
import { HomeChoices } from './HomeChoices';

const networks: Record<Workspace['network'], string> = {
  none: 'No network',
  internet: 'Internet',
  full: 'Full network',
};

interface Props {
  workspace: Workspace;
  /** Where to launch it; null: the server decides. */
  zone: string | null;
  /** The outcome of the last launch from any card; null when one begins. */
  onRefused: (error: unknown) => void;
}

export function WorkspaceCard({ workspace, zone, onRefused }: Props) {
  const navigate = useNavigate();
  const launch = useLaunch();
  const heading = useId();
  const key = useRef(idempotencyKey());

  /** Why the home could not be had, the last time that it was asked for. */
  const [homeless, setHomeless] = useState<Problem | null>(null);
  const [waiting, setWaiting] = useState(false);

  const start = ({ withoutHome = false, again = false } = {}) => {
    // Whoever waits goes on reading why.
    if (!again) {
      onRefused(null);
      setHomeless(null);
      setWaiting(false);
    }
    launch.mutate(
      { workspaceId: workspace.id, zone, key: key.current, withoutHome },
      {
        onSuccess: (session) => void navigate(`/sessions/${session.id}`),
        onError: (error) => {
          const problem = asProblem(error);
          setHomeless(problem.homeless ? problem : null);
          if (!problem.homeless || problem.details.retryAfter === null) setWaiting(false);
          onRefused(error);
        },
        // Every click is a wish of its own; only a lost answer is asked for again with the same key.
        onSettled: () => {
          key.current = idempotencyKey();
        },
      },
    );
  };

  return (
    <li className={classes.card} aria-labelledby={heading}>
      <div className={classes.picture}>
        <WorkspaceArt icon={workspace.icon} />
      </div>
      <div className={classes.body}>
        <h2 className={classes.name} id={heading}>
          {workspace.name}
        </h2>
        {workspace.description && <p className={classes.description}>{workspace.description}</p>}
        <ul className={classes.facts}>
          <li>{cores(workspace.cpu)}</li>
          <li>{memory(workspace.memory_mb)}</li>
          {workspace.gpu > 0 && <li>{workspace.gpu} GPU</li>}
          <li>{networks[workspace.network]}</li>
        </ul>
        <div className={classes.launch}>
          <Button onClick={() => start()} loading={launch.isPending && !waiting} disabled={waiting} aria-describedby={heading} fullWidth>
            Launch
          </Button>
          {homeless && (
            <HomeChoices
              problem={homeless}
              waiting={waiting}
              onWait={setWaiting}
              onAgain={() => start({ again: true })}
              onTemporary={() => start({ withoutHome: true })}
              describedBy={heading}
            />
          )}
        </div>
      </div>
    </li>
  );
}

function cores(cpu: number): string {
  return cpu === 1 ? '1 core' : `${cpu} cores`;
}

function memory(mb: number): string {
  return mb >= 1024 ? `${Number((mb / 1024).toFixed(1))} GB memory` : `${mb} MB memory`;
}
