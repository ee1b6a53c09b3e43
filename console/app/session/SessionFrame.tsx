import type { ReactNode } from 'react';
import { Link } from 'react-router';
import { BackIcon } from '../ui/icons';
import { WorkspaceArt } from '../ui/WorkspaceArt';
import type { Session } from '../api/types';
import classes from './SessionFrame.module.css';

interface Props {
  session?: Session;
  title: string;
  /** Id of the title, for what is described by it. */
  titleId?: string;
  children: ReactNode;
}

/** A session's page while there is no desktop to show: one card, and always a way back. */
export function SessionFrame({ session, title, titleId, children }: Props) {
  return (
    <div className={classes.page}>
      <nav className={classes.nav} aria-label="Pages">
        <Link to="/" className={classes.back}>
          <BackIcon /> Catalogue
        </Link>
      </nav>
      <main className={classes.card}>
        <header className={classes.head}>
          {session && <WorkspaceArt icon={session.workspace.icon} small />}
          <h1 id={titleId}>{title}</h1>
        </header>
        {children}
      </main>
    </div>
  );
}
