import { Alert, Button, Code, CopyButton, Group, Stack } from '@mantine/core';
import type { ReactNode } from 'react';

interface Props {
  secret: string;
  title: string;
  onDone: () => void;
  children: ReactNode;
}

/** The one time that a secret is shown. */
export function ShownOnce({ secret, title, onDone, children }: Props) {
  return (
    <Stack>
      <Alert role="status" color="teal" variant="light" title={title}>
        {children}
      </Alert>
      <Code block style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
        {secret}
      </Code>
      <Group justify="flex-end">
        <CopyButton value={secret}>
          {({ copied, copy }) => (
            <Button variant="light" onClick={copy}>
              {copied ? 'Copied' : 'Copy'}
            </Button>
          )}
        </CopyButton>
        <Button onClick={onDone}>Done</Button>
      </Group>
    </Stack>
  );
}
