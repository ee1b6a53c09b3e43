import type { ReactNode } from 'react';
import { Link } from 'react-router';
import { BackIcon } from '../ui/icons';
import { WorkspaceArt } from '../ui/WorkspaceArt';
import type { Session } from '../api/types';
import classes from './SessionFrame.module.css';

/** A session's page while there is no desktop to show: one card, and always a way back. */
export function SessionFrame({ session, title, children }: { session?: Session; title: string; children: ReactNode }) {
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
          <h1>{title}</h1>
        </header>
        {children}
      </main>
    </div>
  );
}
