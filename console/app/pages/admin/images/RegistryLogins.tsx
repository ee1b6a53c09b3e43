import { Button, Fieldset, NativeSelect, Stack, Text, TextInput } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { useDropLogin, useLogins, useSetLogin } from '../../../api/images';
import { may } from '../../../api/permissions';
import { asProblem } from '../../../api/problem';
import { useMe } from '../../../api/queries';
import { DataTable } from '../../../ui/DataTable';
import { PasswordField } from '../../../ui/PasswordField';
import { ProblemNote } from '../../../ui/ProblemNote';
import { When } from '../../../ui/When';

const nobody = { host: '', username: '', password: '' };

/** Who a zone's agents are at registries. No password is ever shown. */
export function RegistryLogins({ zones, first }: { zones: string[]; first: string }) {
  const modify = may(useMe().data ?? null, 'images:modify');
  const [zone, setZone] = useState(first === '' ? (zones[0] ?? '') : first);
  const logins = useLogins(zone);
  const drop = useDropLogin();
  return (
    <Stack>
      <NativeSelect label="Zone" data={zones} value={zone} onChange={(event) => setZone(event.currentTarget.value)} />
      {logins.isError && <ProblemNote error={logins.error} onRetry={() => void logins.refetch()} />}
      {drop.isError && <ProblemNote error={drop.error} />}
      {logins.data?.length === 0 && (
        <Text size="sm" c="dimmed">
          The agents of {zone} ask registries without a login.
        </Text>
      )}
      {logins.data && logins.data.length > 0 && (
        <DataTable
          caption={`Logins of ${zone}`}
          rows={logins.data}
          rowKey={(login) => login.host}
          columns={[
            { label: 'Registry', render: (login) => <strong>{login.host}</strong> },
            { label: 'User', render: (login) => login.username },
            { label: 'Set', render: (login) => <When at={login.set_at} /> },
            {
              label: 'Take away',
              render: (login) =>
                modify && (
                  <Button
                    size="compact-sm"
                    variant="subtle"
                    color="red"
                    aria-label={`Take away the login at ${login.host}`}
                    onClick={() => drop.mutate({ zone, host: login.host })}
                  >
                    Take away
                  </Button>
                ),
            },
          ]}
        />
      )}
      {modify && zone !== '' && <NewLogin key={zone} zone={zone} />}
    </Stack>
  );
}

function NewLogin({ zone }: { zone: string }) {
  const set = useSetLogin();
  const [login, setLogin] = useState(nobody);
  const problem = set.error ? asProblem(set.error) : null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    set.mutate({ zone, ...login }, { onSuccess: () => setLogin(nobody) });
  };
  return (
    <form onSubmit={submit} noValidate autoComplete="off">
      <Fieldset legend="Set a login">
        <Stack gap="sm">
          <TextInput
            label="Registry"
            description="As references begin with it"
            placeholder="registry.example.org:5000"
            value={login.host}
            onChange={(event) => setLogin({ ...login, host: event.currentTarget.value })}
            error={problem?.at('host')}
          />
          <TextInput
            label="User"
            description="One that may only pull"
            autoComplete="off"
            value={login.username}
            onChange={(event) => setLogin({ ...login, username: event.currentTarget.value })}
            error={problem?.at('username')}
          />
          <PasswordField
            label="Password"
            description={`Reaches the agents of ${zone} and nobody else; it is not shown again`}
            autoComplete="new-password"
            value={login.password}
            onChange={(event) => setLogin({ ...login, password: event.currentTarget.value })}
            error={problem?.at('password')}
          />
          {problem?.details.fields.length === 0 && <ProblemNote error={problem} />}
          <Button type="submit" variant="light" loading={set.isPending} disabled={Object.values(login).some((value) => value === '')}>
            Set the login
          </Button>
        </Stack>
      </Fieldset>
    </form>
  );
}
