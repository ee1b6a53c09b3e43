import { Button, Checkbox, Stack, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { useCreateUser } from '../../api/people';
import { asProblem } from '../../api/problem';
import { PasswordField } from '../../ui/PasswordField';
import { ProblemNote } from '../../ui/ProblemNote';

export function NewUser({ onDone }: { onDone: () => void }) {
  const create = useCreateUser();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [mustChange, setMustChange] = useState(true);
  const [admin, setAdmin] = useState(false);
  const problem = create.error ? asProblem(create.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    create.mutate(
      { username: name, password, role: admin ? 'admin' : 'user', must_change_password: mustChange },
      { onSuccess: onDone },
    );
  };
  return (
    <form onSubmit={submit} noValidate>
      <Stack>
        <TextInput
          label="Name"
          autoComplete="off"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={problem?.at('username')}
          data-autofocus
        />
        <PasswordField
          label="Password"
          description="8 characters or more; tell it to the person by a safe way"
          autoComplete="new-password"
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          error={problem?.at('password')}
        />
        <Checkbox
          label="They choose a password of their own at the first sign-in"
          checked={mustChange}
          onChange={(event) => setMustChange(event.currentTarget.checked)}
        />
        <Checkbox
          label="An administrator"
          aria-label="An administrator"
          description="May administer everything"
          checked={admin}
          onChange={(event) => setAdmin(event.currentTarget.checked)}
        />
        {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
        <Button type="submit" loading={create.isPending}>
          Make the account
        </Button>
      </Stack>
    </form>
  );
}
