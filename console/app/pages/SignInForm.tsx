import { Button, Stack, TextInput } from '@mantine/core';
import { type SubmitEvent, useEffect, useRef, useState } from 'react';
import { useSignIn } from '../api/queries';
import { asProblem } from '../api/problem';
import type { Me } from '../api/types';
import { ProblemNote } from '../ui/ProblemNote';
import classes from './SignIn.module.css';

/** The fields of a sign-in. `again` is who was signed in until now: nothing that this person sees needs to be fetched anew. */
export function SignInForm({ again = null }: { again?: Me | null }) {
  const signIn = useSignIn(again);
  const [username, setUsername] = useState(again?.name ?? '');
  const [password, setPassword] = useState('');
  const [missing, setMissing] = useState(false);
  const passwordField = useRef<HTMLInputElement>(null);
  const wait = useCountdown(signIn.error ? asProblem(signIn.error).details.retryAfter : null);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setMissing(username === '' || password === '');
    if (username === '' || password === '') return;
    signIn.mutate({ username, password }, { onError: () => passwordField.current?.select() });
  };

  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="md">
        <TextInput
          label="Username"
          name="username"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus={again === null}
          size="md"
          value={username}
          onChange={(event) => setUsername(event.currentTarget.value)}
          error={missing && username === '' ? 'Enter your user name.' : null}
        />
        <TextInput
          ref={passwordField}
          label="Password"
          name="password"
          type="password"
          autoComplete="current-password"
          autoFocus={again !== null}
          size="md"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          error={missing && password === '' ? 'Enter your password.' : null}
        />
        {signIn.isError && (
          <ProblemNote error={signIn.error}>
            {wait > 0 && <p className={classes.wait}>You can try again in {wait} s.</p>}
          </ProblemNote>
        )}
        <Button type="submit" size="md" fullWidth loading={signIn.isPending} disabled={wait > 0}>
          Sign in
        </Button>
      </Stack>
    </form>
  );
}

/** Counts whole seconds down to 0, anew for each error. */
function useCountdown(seconds: number | null): number {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (seconds === null) return;
    const end = Date.now() + seconds * 1000;
    const update = () => setLeft(Math.max(0, Math.ceil((end - Date.now()) / 1000)));
    update();
    const timer = setInterval(update, 500);
    return () => {
      clearInterval(timer);
      setLeft(0);
    };
  }, [seconds]);
  return left;
}
