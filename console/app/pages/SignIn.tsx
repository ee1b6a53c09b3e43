import { ThemeMenu } from '../shell/ThemeMenu';
import { Logo } from '../ui/icons';
import { useTitle } from '../ui/useTitle';
import classes from './SignIn.module.css';
import { SignInForm } from './SignInForm';

export function SignIn() {
  useTitle('Sign in');
  return (
    <div className={classes.page}>
      <div className={classes.corner}>
        <ThemeMenu />
      </div>
      <main className={classes.card}>
        <div className={classes.brand}>
          <Logo size={44} />
          <h1 className={classes.title}>Meridian</h1>
          <p className={classes.line}>Your workspaces, streamed to this browser.</p>
        </div>
        <SignInForm />
      </main>
    </div>
  );
}
