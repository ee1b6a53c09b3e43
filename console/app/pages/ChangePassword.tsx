import { Button, Stack, Text } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { useChangePassword } from '../api/people';
import { asProblem } from '../api/problem';
import { useSignOut } from '../api/queries';
import type { Me } from '../api/types';
import { ThemeMenu } from '../shell/ThemeMenu';
import { PasswordField } from '../ui/PasswordField';
import { Logo } from '../ui/icons';
import { ProblemNote } from '../ui/ProblemNote';
import { useTitle } from '../ui/useTitle';
import classes from './SignIn.module.css';

/** Stands in place of every page until the person has chosen a password of their own. */
export function PasswordFirst({ me }: { me: Me }) {
  useTitle('Choose a new password');
  const signOut = useSignOut();
  return (
    <div className={classes.page}>
      <div className={classes.corner}>
        <ThemeMenu />
      </div>
      <main className={classes.card}>
        <div className={classes.brand}>
          <Logo size={44} />
          <h1 className={classes.title}>Choose a new password</h1>
          <p className={classes.line}>An administrator asks for it before you go on, {me.name}.</p>
        </div>
        <PasswordForm />
        <Button variant="subtle" color="gray" fullWidth mt="sm" onClick={() => signOut.mutate()}>
          Sign out
        </Button>
      </main>
    </div>
  );
}

/** The current password, and the new one twice. */
export function PasswordForm({ onDone }: { onDone?: () => void }) {
  const change = useChangePassword();
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const [tried, setTried] = useState(false);
  const problem = change.error ? asProblem(change.error) : null;
  const differs = next !== again;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    if (current === '' || next === '' || differs) return;
    change.mutate({ current, next }, { onSuccess: onDone });
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="md">
        <PasswordField
          label="Current password"
          autoComplete="current-password"
          value={current}
          onChange={(event) => setCurrent(event.currentTarget.value)}
          error={tried && current === '' ? 'Enter your current password.' : problem?.at('current_password')}
        />
        <PasswordField
          label="New password"
          description="8 characters or more"
          autoComplete="new-password"
          value={next}
          onChange={(event) => setNext(event.currentTarget.value)}
          error={tried && next === '' ? 'Enter a new password.' : problem?.at('new_password')}
        />
        <PasswordField
          label="New password, again"
          autoComplete="new-password"
          value={again}
          onChange={(event) => setAgain(event.currentTarget.value)}
          error={tried && differs ? 'The two are not the same.' : null}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Text size="xs" c="dimmed">
          Wherever else you are signed in, you are signed out.
        </Text>
        <Button type="submit" size="md" fullWidth loading={change.isPending}>
          Change password
        </Button>
      </Stack>
    </form>
  );
}
