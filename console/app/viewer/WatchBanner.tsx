import { Button } from '@mantine/core';
import { useState } from 'react';
import { useEndWatch } from '../api/queries';
import type { Session, Watch } from '../api/types';
import classes from './Viewer.module.css';
import { useServerNow } from './useServerNow';
import { onlookersOf } from './watches';

interface Props {
  session: Session;
  /** Tells the desktop's host itself; false when it cannot be told. */
  onStop: () => boolean;
}

/** As long as somebody looks on, or may at any moment, it says who, and stops it at a click. */
export function WatchBanner({ session, onStop }: Props) {
  const onlookers = onlookersOf(session, useServerNow());
  return (
    <div className={classes.watching} role="status">
      {onlookers.map((watch) => (
        <Onlooker key={watch.id} session={session} watch={watch} onStop={onStop} />
      ))}
    </div>
  );
}

function Onlooker({ session, watch, onStop }: Props & { watch: Watch }) {
  const end = useEndWatch();
  const [told, setTold] = useState(false);
  const { name } = watch.watcher;
  const stop = () => {
    setTold(onStop());
    end.mutate({ id: session.id, watch: watch.id });
  };
  return (
    <div className={classes.onlooker}>
      <span className={classes.eye} aria-hidden />
      <span>{textOf(watch, told && end.isError)}</span>
      <Button size="compact-sm" color="red" loading={end.isPending} aria-label={`Stop ${name} from looking on`} onClick={stop}>
        Stop
      </Button>
    </div>
  );
}

function textOf(watch: Watch, hostAlone: boolean): string {
  const { name } = watch.watcher;
  if (hostAlone) return `The desktop’s host was told to cut ${name} off. Meridian’s control plane does not answer`;
  return watch.began_at === null ? `${name} may look on` : `${name} is looking on`;
}
