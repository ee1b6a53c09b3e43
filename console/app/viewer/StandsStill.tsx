import { Button, Group } from '@mantine/core';
import { Link } from 'react-router';
import type { Frozen, Session } from '../api/types';
import { sentence } from '../ui/text';
import classes from './Viewer.module.css';

interface Props {
  session: Session;
  frozen: Frozen;
  onEnd: () => void;
}

/** Over a desktop that may not write to its home now: why, and what to do. Nothing is typed blind into what is behind it. */
export function StandsStill({ session, frozen, onEnd }: Props) {
  return (
    <div className={classes.cover} role="alert">
      <h1>{session.name} stands still</h1>
      <p>{sentence(frozen.message)}</p>
      <p>{sentence(frozen.hint)}</p>
      <Group justify="center">
        {frozen.because === 'overtaken' && (
          <Button color="red" onClick={onEnd}>
            End session
          </Button>
        )}
        <Button component={Link} to="/" variant="default">
          Back to the catalogue
        </Button>
      </Group>
    </div>
  );
}
