import type { ReactNode } from 'react';
import classes from './PageHead.module.css';

export function PageHead({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={classes.head}>
      <h1>{title}</h1>
      {children && <div className={classes.tools}>{children}</div>}
    </div>
  );
}
