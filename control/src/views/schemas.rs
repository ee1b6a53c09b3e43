//! The model's words as OpenAPI enums. The model itself knows nothing of OpenAPI; what may be said is read from its own lists, so that a new
//! word is in the document at once.

use meridian_model::{
    ImagePolicy as ModelImagePolicy, LoadStrategy as ModelLoadStrategy, Network as ModelNetwork,
    NodeRole as ModelNodeRole, ProgressStep as ModelProgressStep, Seccomp as ModelSeccomp,
    SessionState as ModelSessionState, Transport as ModelTransport,
    policy::{Kind, SETTINGS, Setting},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type},
    },
};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident of $model:ident),+ $(,)?) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = $model::ALL.map($model::as_str);
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

words! {
    /// Where a session stands.
    SessionState of ModelSessionState,
    /// How far a launch has come.
    ProgressStep of ModelProgressStep,
    /// What a node does.
    NodeRole of ModelNodeRole,
    /// What a workspace may reach.
    Network of ModelNetwork,
    /// What becomes of a launch where an agent lacks the image.
    ImagePolicy of ModelImagePolicy,
    /// Which system calls a workspace may make.
    Seccomp of ModelSeccomp,
    /// Which agent gets the next session.
    LoadStrategy of ModelLoadStrategy,
    /// How a viewer speaks on the stream.
    Transport of ModelTransport,
}

/// What a group decides: any of the settings. In a change, null leaves a setting to other groups.
pub(super) struct GroupSettings;

impl PartialSchema for GroupSettings {
    fn schema() -> RefOr<Schema> {
        let object = SETTINGS.iter().fold(ObjectBuilder::new(), |object, setting| {
            object.property(setting.name, setting_schema(setting))
        });
        object.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
    }
}

impl ToSchema for GroupSettings {}

fn setting_schema(setting: &Setting) -> Schema {
    let or_null = |kind| SchemaType::from_iter([kind, Type::Null]);
    let one = |kind| ObjectBuilder::new().schema_type(or_null(kind)).description(Some(setting.meaning));
    match setting.kind {
        Kind::Switch => one(Type::Boolean).into(),
        // 0 is taken besides.
        Kind::Number { most, .. } => one(Type::Integer).minimum(Some(0)).maximum(Some(most)).into(),
        Kind::Cores => one(Type::Number).minimum(Some(0)).maximum(Some(1024)).into(),
        Kind::Words(words) => {
            one(Type::String).enum_values(Some(words.iter().map(|word| Some(*word)).chain([None]))).into()
        }
        Kind::Zone => one(Type::String).into(),
        Kind::Zones => ArrayBuilder::new()
            .schema_type(or_null(Type::Array))
            .items(ObjectBuilder::new().schema_type(Type::String))
            .description(Some(setting.meaning))
            .into(),
    }
}
