import { Button } from '@mantine/core';
import { useId, useRef } from 'react';
import { useNavigate } from 'react-router';
import { idempotencyKey } from '../api/client';
import { asProblem } from '../api/problem';
import { useLaunch } from '../api/queries';
import type { Workspace } from '../api/types';
import { WorkspaceArt } from '../ui/WorkspaceArt';
import classes from './Catalogue.module.css';

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

  const start = (withoutHome = false) => {
    onRefused(null);
    launch.mutate(
      { workspaceId: workspace.id, zone, key: key.current, withoutHome },
      {
        onSuccess: (session) => void navigate(`/sessions/${session.id}`),
        onError: onRefused,
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
          <Button onClick={() => start()} loading={launch.isPending} aria-describedby={heading} fullWidth>
            Launch
          </Button>
          {launch.isError && asProblem(launch.error).homeless && (
            <Button variant="default" mt="xs" onClick={() => start(true)} aria-describedby={heading} fullWidth>
              Launch with a temporary home
            </Button>
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
