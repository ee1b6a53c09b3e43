import { Alert, Button, Group, Stack, Text, Textarea } from '@mantine/core';
import { useEffect, useState } from 'react';
import { readPermission, writeText } from './Clipboard';
import type { Desktop } from './useDesktop';

/** The shared clipboard as text, for reading, editing, and for browsers that share theirs with nobody. */
export function ClipboardPanel({ desktop }: { desktop: Desktop }) {
  const { clipboard, clipboardText, clipboardRefusal } = desktop;
  const [draft, setDraft] = useState(clipboardText);
  const [note, setNote] = useState<string | null>(null);
  const [permission, setPermission] = useState<PermissionState | 'unknown'>('unknown');
  // News from either side replaces the draft.
  const [shown, setShown] = useState(clipboardText);
  if (shown !== clipboardText) {
    setShown(clipboardText);
    setDraft(clipboardText);
  }
  useEffect(() => void readPermission().then(setPermission), []);

  const send = () => {
    const sent = clipboard.current?.put(draft) ?? false;
    setNote(sent ? 'Sent. Paste it in the workspace.' : 'This text could not be sent; the limit is 256 KiB.');
  };
  const copy = () => {
    void writeText(draft).then((written) => {
      setNote(written ? 'Copied to this computer.' : 'The browser did not allow that. Select the text and copy it.');
    });
  };
  const allow = () => {
    void clipboard.current?.read().then(async (allowed) => {
      setPermission(await readPermission());
      setNote(allowed ? null : 'The browser did not allow that.');
    });
  };

  return (
    <Stack gap="xs">
      <Textarea
        label="Clipboard of the workspace"
        description="Shows what was copied there, ready to copy here. Send puts your text in its place, to be pasted there."
        value={draft}
        onChange={(event) => setDraft(event.currentTarget.value)}
        minRows={4}
        maxRows={10}
        autosize
        spellCheck={false}
        data-autofocus
      />
      {clipboardRefusal !== null && <Alert color="orange">{clipboardRefusal}</Alert>}
      <Group gap="xs" grow>
        <Button size="compact-sm" onClick={send} disabled={draft === ''}>
          Send
        </Button>
        <Button size="compact-sm" variant="default" onClick={copy} disabled={draft === ''}>
          Copy
        </Button>
      </Group>
      {permission === 'prompt' && (
        <Button size="compact-sm" variant="subtle" onClick={allow}>
          Share my clipboard automatically
        </Button>
      )}
      <Text size="xs" c="dimmed" role="status">
        {note}
      </Text>
    </Stack>
  );
}
