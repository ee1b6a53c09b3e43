import { Button, Group, NativeSelect, NumberInput, Stack, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import type { UserPatch } from '../../api/client';
import { may } from '../../api/permissions';
import { useChangeUser, useDeleteUser } from '../../api/people';
import { asProblem } from '../../api/problem';
import { useMe, useZones } from '../../api/queries';
import type { User } from '../../api/types';
import { Facts } from '../../ui/Facts';
import { PasswordField } from '../../ui/PasswordField';
import { ProblemNote } from '../../ui/ProblemNote';
import { besideInput } from '../../ui/besideInput';
import { useConfirm } from '../../ui/useConfirm';
import { PolicyTable } from './PolicyTable';
import { UserState } from './UserState';

/** One account: what can be done to it, and the policy that holds for it. */
export function UserDetails({ user, onGone }: { user: User; onGone: () => void }) {
  const me = useMe().data ?? null;
  const change = useChangeUser();
  const remove = useDeleteUser();
  const { ask, dialog } = useConfirm();
  const modify = may(me, 'users:modify');
  const self = me?.id === user.id;
  const problem = change.error ?? remove.error;
  const send = (patch: UserPatch) => change.mutate({ id: user.id, patch });
  return (
    <Stack>
      <Facts
        facts={[
          { name: 'Id', value: user.id },
          { name: 'State', value: <UserState user={user} /> },
          { name: 'Groups', value: user.groups.map((group) => group.name).join(', ') || 'Everyone alone' },
        ]}
      />
      {problem && <ProblemNote error={problem} />}
      {modify && (
        <>
          <Group>
            <Button variant="default" disabled={self} onClick={() => send({ locked: !user.locked })}>
              {user.locked ? 'Unlock' : 'Lock'}
            </Button>
            <Button
              variant="default"
              disabled={self}
              onClick={() =>
                user.disabled
                  ? send({ disabled: false })
                  : ask({
                      title: `Disable ${user.name}?`,
                      text: 'They are signed out, and their live streams are cut. Their sessions stay.',
                      action: 'Disable',
                      onConfirm: () => send({ disabled: true }),
                    })
              }
            >
              {user.disabled ? 'Enable' : 'Disable'}
            </Button>
            {!user.must_change_password && (
              <Button variant="default" onClick={() => send({ must_change_password: true })}>
                Ask for a new password
              </Button>
            )}
          </Group>
          <Rename user={user} />
          <NewPassword user={user} />
          <OwnLimit user={user} />
          <OwnHomeZone user={user} />
        </>
      )}
      <PolicyTable userId={user.id} />
      {may(me, 'users:delete') && !self && (
        <Button
          color="red"
          variant="light"
          loading={remove.isPending}
          onClick={() =>
            ask({
              title: `Delete ${user.name}?`,
              text: 'Their sessions end, and everything in them is removed. What they did stays in the audit log.',
              action: 'Delete',
              onConfirm: () => remove.mutate(user.id, { onSuccess: onGone }),
            })
          }
        >
          Delete the account
        </Button>
      )}
      {dialog}
    </Stack>
  );
}

/** One field of an account and the button that sends it, with what the server has against it beneath. */
function useField(user: User, field: 'name' | 'password' | 'session_limit' | 'home_zone') {
  const change = useChangeUser();
  const problem = change.error ? asProblem(change.error) : null;
  const said = problem?.at(field) ?? null;
  return {
    error: said,
    /** What is wrong, but not with the field. */
    note: problem && said === null ? <ProblemNote error={problem} /> : null,
    /** The server's word stands until the field is touched. */
    touched: () => (change.isError ? change.reset() : undefined),
    submit: (patch: UserPatch, onSuccess: () => void) => (event: SubmitEvent) => {
      event.preventDefault();
      change.mutate({ id: user.id, patch }, { onSuccess });
    },
    withButton: (action: string, name: string, nothingNew: boolean) =>
      besideInput(
        <Button type="submit" variant="light" aria-label={name} loading={change.isPending} disabled={nothingNew}>
          {action}
        </Button>,
      ),
  };
}

function Rename({ user }: { user: User }) {
  const field = useField(user, 'name');
  /** Null: nobody typed another. */
  const [typed, setTyped] = useState<string | null>(null);
  const name = typed ?? user.name;
  return (
    <form onSubmit={field.submit({ name }, () => setTyped(null))} noValidate>
      <TextInput
        label="Name"
        value={name}
        onChange={(event) => {
          setTyped(event.currentTarget.value);
          field.touched();
        }}
        error={field.error}
        inputContainer={field.withButton('Rename', 'Rename', name === user.name)}
      />
      {field.note}
    </form>
  );
}

function NewPassword({ user }: { user: User }) {
  const field = useField(user, 'password');
  const [password, setPassword] = useState('');
  return (
    <form onSubmit={field.submit({ password, must_change_password: true }, () => setPassword(''))} noValidate>
      <PasswordField
        label="New password"
        autoComplete="new-password"
        value={password}
        onChange={(event) => {
          setPassword(event.currentTarget.value);
          field.touched();
        }}
        error={field.error}
        inputContainer={field.withButton('Set', 'Set the password', password === '')}
      />
      {field.note}
    </form>
  );
}

/** A limit of the account's own stands above what groups say. */
function OwnLimit({ user }: { user: User }) {
  const field = useField(user, 'session_limit');
  const before = user.session_limit_own ? user.session_limit : '';
  const [typed, setTyped] = useState<number | '' | null>(null);
  const limit = typed ?? before;
  return (
    <form onSubmit={field.submit({ session_limit: limit === '' ? null : limit }, () => setTyped(null))} noValidate>
      <NumberInput
        label="Session limit of their own"
        placeholder={user.session_limit_own ? 'left to groups' : `left to groups: ${user.session_limit}`}
        min={0}
        allowDecimal={false}
        value={limit}
        onChange={(value) => {
          setTyped(value === '' ? '' : Number(value));
          field.touched();
        }}
        error={field.error}
        inputContainer={field.withButton('Set', 'Set the limit', limit === before)}
      />
      {field.note}
    </form>
  );
}

/** A home zone of the account's own stands above those of groups. */
function OwnHomeZone({ user }: { user: User }) {
  const field = useField(user, 'home_zone');
  const zones = (useZones().data ?? []).map((zone) => zone.name);
  const before = user.home_zone ?? '';
  const [typed, setTyped] = useState<string | null>(null);
  const zone = typed ?? before;
  // One that was deleted is still what the account has.
  const choices = before === '' || zones.includes(before) ? zones : [before, ...zones];
  return (
    <form onSubmit={field.submit({ home_zone: zone === '' ? null : zone }, () => setTyped(null))} noValidate>
      <NativeSelect
        label="Home zone of their own"
        value={zone}
        data={[{ value: '', label: 'left to groups' }, ...choices]}
        onChange={(event) => {
          setTyped(event.currentTarget.value);
          field.touched();
        }}
        error={field.error}
        inputContainer={field.withButton('Set', 'Set the home zone', zone === before)}
      />
      {field.note}
    </form>
  );
}
