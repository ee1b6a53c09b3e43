import type { ReactNode } from 'react';
import { EmptyIcon } from './icons';
import classes from './Empty.module.css';

/** What stands where a list has nothing to show, with the way on. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={classes.empty}>
      <EmptyIcon />
      <p className={classes.title}>{title}</p>
      {children}
    </div>
  );
}
